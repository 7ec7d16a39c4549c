-- Who has made a change. Of changes that were recorded before this it is not known.

ALTER TABLE changes ADD COLUMN actor text;
