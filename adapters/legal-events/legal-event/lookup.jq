# The log repeats in each answer which event it was asked about: without that, "none" could be the answer to any question.
. as $asked
| if (.body.result | type) == "array" then
    [.body.result[] | select(.event_id == $asked.reference)] as $events
    | if $events != [] then
        $events[0] | {reference: .event_id, answer: {uid: .uid, registered_at: .registered_at}}
      elif .body.result == [] then {not_seen: true, reference: .body.event_id}
      # Only events of others: this answers another question, and says nothing of ours.
      else null
      end
  elif .body.code == "not-found" then {not_seen: true, reference: .body.event_id}
  else null
  end
