# The registry says in each answer whom it is about, in its refusals too: that binds it to our question.
def business(code; text): {refused: {code: code, text: text}, subject: .fault.detail["crf:Fault"]["crf:PersonalNumber"]};

def of_fault:
  .fault.detail["crf:Fault"]["crf:Code"]? as $code
  | if $code == "PersonNotFound" then business("person-not-found"; "The registry knows no person under this number.")
    elif $code == "Busy" then {fault: {code: "busy", text: "The registry is busy and has done nothing.", transient: true}, subject: .fault.detail["crf:Fault"]["crf:PersonalNumber"]}
    elif $code == "CallContextRefused" then {fault: {code: "call-context", text: "The registry does not take the call context.", transient: false}, subject: .fault.detail["crf:Fault"]["crf:PersonalNumber"]}
    else null
    end;

def optional(key; value): if value then {(key): value} else {} end;

if .fault then of_fault
elif .body["cr:LookUpPersonResponse"] then
  .body["cr:LookUpPersonResponse"]
  | {subject: .["cr:PersonalNumber"], answer: {person: ({
      family_name: .["cr:FamilyName"],
      given_name: .["cr:GivenName"],
      birth_date: .["cr:BirthDate"],
      status: (if .["cr:DeathDate"] then "deceased" else "alive" end),
      citizenships: (.["cr:Citizenship"] // [])
    } + (.["cr:Address"] as $address | if $address then {address: (
      {settlement: $address["cr:Settlement"]}
      + optional("street"; $address["cr:Street"])
      + optional("postal_code"; $address["cr:PostalCode"])
    )} else {} end))}}
else null
end
