if .status == 201 then {answer: {uid: .body.number, registered_at: .body.at}}
elif .status == 409 then {refused: {code: "desk-closed", text: "The desk is closed for this kind of event."}}
else null
end
