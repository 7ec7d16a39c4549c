if .status == 201 then {reference: .body.reference, answer: {uid: .body.number, registered_at: .body.at}}
elif .status == 409 then {reference: .body.reference, refused: {code: "desk-closed", text: "The desk is closed for this kind of event."}}
elif .status == 503 and .body.done == false then
  {reference: .body.reference, fault: {code: "full", text: "The desk has taken nothing.", transient: true}}
else null
end
