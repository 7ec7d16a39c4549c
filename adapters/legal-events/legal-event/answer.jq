if .status == 200 and .body.uid then
  {reference: .body.event_id, answer: {uid: .body.uid, registered_at: .body.registered_at}}
elif .status == 422 and .body.code == "unknown-legal-basis" then
  {refused: {code: "unknown-legal-basis", text: "The log does not know the legal basis."}, reference: .body.event_id}
elif .status == 422 then
  {refused: {code: "event-refused", text: "The log does not take the event."}, reference: .body.event_id}
elif .status == 503 then
  {fault: {code: "maintenance", text: "The log is not available and has registered nothing.", transient: true}}
else null
end
