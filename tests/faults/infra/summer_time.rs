//! A process whose local time changes from summer to winter, and back, while offices post: nothing is noticed.

use super::trial::Trial;
use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use std::{process::Command, time::Duration};
use tokio::time::sleep;

const CHILD: &str = "PUNTE_TEST_TIME_CHANGES_AT";

/// A rule (POSIX, `TZ`) by which summer begins, or ends, at this moment.
fn rule(at: Timestamp, begins: bool) -> String {
    let local = |offset: i8| -> Zoned { at.to_zoned(TimeZone::fixed(jiff::tz::offset(offset))) };
    let day = |moment: &Zoned| {
        let leap_days = if moment.month() > 2 && moment.in_leap_year() { 1 } else { 0 };
        moment.day_of_year() - leap_days
    };
    let written = |moment: &Zoned| format!("J{}/{}", day(moment), moment.strftime("%H:%M:%S"));
    let far = local(2).checked_add(SignedDuration::from_hours(24 * 120)).unwrap();
    // What begins or ends is written in the local time before it.
    match begins {
        true => format!("EET-2EEST-3,{},{}", written(&local(2)), written(&far)),
        false => format!("EET-2EEST-3,{},{}", written(&far), written(&local(3))),
    }
}

/// The child is this test itself, started anew with another local time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_change_to_winter_time_and_back_is_not_noticed() {
    if let Ok(at) = std::env::var(CHILD) {
        return live_through(at.parse().unwrap()).await;
    }
    for begins in [false, true] {
        // A slow machine is not ready so soon.
        for seconds in [12, 24, 48] {
            let said = tokio::task::spawn_blocking(move || said_by_a_child(begins, seconds)).await.unwrap();
            print!("{said}");
            if said.contains(TOO_SLOW) && seconds < 48 {
                continue;
            }
            assert!(said.contains("the local time has changed by 60 minutes"), "{said}");
            break;
        }
    }
}

const TOO_SLOW: &str = "the change is over before the load began";

/// Its local time changes so soon.
fn said_by_a_child(begins: bool, seconds: i64) -> String {
    let at = Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "infra::summer_time::the_change_to_winter_time_and_back_is_not_noticed", "--nocapture"]);
    let output = child.env(CHILD, at.to_string()).env("TZ", rule(at, begins)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn live_through(at: Timestamp) {
    // What the C library says, as everything that reads local time would hear it.
    let offset = || {
        let said = Command::new("date").arg("+%:::z").output().unwrap().stdout;
        String::from_utf8(said).unwrap().trim().parse::<i64>().unwrap()
    };
    let before = offset();
    let mut trial = Trial::begin("local time", &[&[]], |_| {}).await;
    if Timestamp::now() >= at {
        println!("{TOO_SLOW}");
        return trial.end_at_first_attempts().await;
    }
    let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap() + Duration::from_secs(1);
    trial.blow("local time changed", sleep(wait)).await;
    println!("the local time has changed by {} minutes", (offset() - before).abs() * 60);
    trial.end_at_first_attempts().await;
}
