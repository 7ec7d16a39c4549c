if .body.extract then {reference: .body.reference, answer: {extract: .body.extract}}
elif .body.code == "no-such-act" then {reference: .body.reference, refused: {code: "no-such-act", text: "There is no such act."}}
elif .body.code == "closed" then {
  reference: .body.reference,
  fault: {code: "closed", text: "Closed, with the unsigned status \(.unsigned.status).", transient: true}
}
else null
end
