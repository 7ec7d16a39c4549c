if .fault.detail["p:NotFound"]? then {refused: {code: "person-not-found", text: "The register knows no person under this number."}}
elif .body["p:Found"] then
  .body["p:Found"]
  | {answer: {person: {
      family_name: .["p:Name"]["@family"],
      given_name: .["p:Name"]["@given"],
      birth_date: .["p:Born"],
      status: "alive",
      citizenships: .["p:Citizenship"]
    }}}
else null
end
