. as $asked
| if .status == 404 then {not_seen: true}
  elif .status == 200 and (.body.result | type) == "array" then
    [.body.result[] | select(.event_id == $asked.reference)] as $events
    | if $events != [] then
        $events[0] | {reference: .event_id, answer: {uid: .uid, registered_at: .registered_at}}
      elif .body.result == [] then {not_seen: true}
      # Only events of others: this answers another question, and says nothing of ours.
      else null
      end
  else null
  end
