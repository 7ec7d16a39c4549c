if .status == 200 and .body.extract then {reference: .body.reference, answer: {extract: .body.extract}}
elif .status == 422 then {reference: .body.reference, refused: {code: "no-such-act", text: "There is no such act."}}
else null
end
