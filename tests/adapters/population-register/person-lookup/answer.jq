# The answer says by WS-Addressing, in a header that is signed, to which message it is one.
(.soap_headers["wsa:RelatesTo"] // "" | ltrimstr("urn:uuid:")) as $reference
| if .fault.detail["p:NotFound"]? then
    {reference: $reference, refused: {code: "person-not-found", text: "The register knows no person under this number."}}
  elif .body["p:Found"] then
    .body["p:Found"]
    | {reference: $reference, answer: {person: {
        family_name: .["p:Name"]["@family"],
        given_name: .["p:Name"]["@given"],
        birth_date: .["p:Born"],
        status: "alive",
        citizenships: .["p:Citizenship"]
      }}}
  else null
  end
