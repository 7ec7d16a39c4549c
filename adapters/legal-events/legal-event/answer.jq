# The signature covers the body alone: what decides stands there, with the event's number beside it.
if .body.uid then
  {reference: .body.event_id, answer: {uid: .body.uid, registered_at: .body.registered_at}}
elif .body.code == "unknown-legal-basis" then
  {reference: .body.event_id, refused: {code: "unknown-legal-basis", text: "The log does not know the legal basis."}}
elif .body.code == "event-refused" then
  {reference: .body.event_id, refused: {code: "event-refused", text: "The log does not take the event."}}
elif .body.code == "maintenance" then
  {
    reference: .body.event_id,
    fault: {code: "maintenance", text: "The log is not available and has registered nothing.", transient: true}
  }
else null
end
