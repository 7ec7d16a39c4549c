# The registry names our request in its refusals and faults too.
def ours: .fault.detail["crf:Fault"]["crf:RequestId"];
def business(code; text): {refused: {code: code, text: text}, reference: ours};

def of_fault:
  .fault.detail["crf:Fault"]["crf:Code"]? as $code
  | if $code == "PersonNotFound" then business("person-not-found"; "The registry knows no person under this number.")
    elif $code == "NoSuchAct" then business("no-such-act"; "The register has no such act of this person.")
    elif $code == "Busy" then {fault: {code: "busy", text: "The registry is busy and has done nothing.", transient: true}, reference: ours}
    elif $code == "CallContextRefused" then {fault: {code: "call-context", text: "The registry does not take the call context.", transient: false}, reference: ours}
    else null
    end;

if .fault then of_fault
elif .body["cr:IssueExtractResponse"] then
  .body["cr:IssueExtractResponse"]
  | {
      reference: .["cr:RequestId"],
      answer: {extract: {
        number: .["cr:Number"],
        act: (.["cr:Act"] | ascii_downcase),
        issued_on: .["cr:IssuedOn"],
        fee: .["cr:Fee"],
        entries: [(.["cr:Entry"] // [])[] | {name: .["@name"], value: (.["#text"] // "")}]
      }}
    }
else null
end
