//! What filters call in the place of jq's own: natives that would end the process, or lose digits.

use super::numbers_met::{is_long_decimal, is_made};
use crate::json::{self, Rules};
use jaq_core::{
    Error, data,
    native::{Fun, bome, run, v},
};
use jaq_json::{Num, Val, read};

/// jq's own first one reads a text of any depth, and ends the process on a deep one: `tonumber` and `toboolean` are made
/// of it. The others make integers of decimals by way of a double, which need not hold them.
pub const REPLACED: [&str; 4] = ["fromjson", "floor", "round", "ceil"];

pub fn replacing() -> [Fun<data::JustLut<Val>>; 4] {
    [
        run(("fromjson", v(0), |(_, value)| bome(from_json(&value)))),
        run(("floor", v(0), |(_, value)| bome(rounded(value, f64::floor)))),
        run(("round", v(0), |(_, value)| bome(rounded(value, f64::round)))),
        run(("ceil", v(0), |(_, value)| bome(rounded(value, f64::ceil)))),
    ]
}

/// Within the depth that `json` allows. The text is not quoted: it may be an agency's.
fn from_json(value: &Val) -> Result<Val, Error<Val>> {
    let (Val::TStr(text) | Val::BStr(text)) = value else { return Err(Error::str("no text")) };
    is_made(&json::parse(text, Rules::AGENCY).map_err(|_| Error::str("no JSON"))?);
    read::parse_single(text).map_err(|_| Error::str("no JSON"))
}

/// An integer stays as it is.
fn rounded(value: Val, round: fn(f64) -> f64) -> Result<Val, Error<Val>> {
    let exact = match &value {
        Val::Num(Num::Int(_) | Num::BigInt(_)) => return Ok(value),
        Val::Num(Num::Float(double)) => *double,
        Val::Num(Num::Dec(written)) if !is_long_decimal(written) => {
            written.parse().map_err(|_| Error::str("no number"))?
        }
        Val::Num(Num::Dec(_)) => return Err(Error::str("a number would lose digits")),
        _ => return Err(Error::str("no number")),
    };
    let round = round(exact);
    // What is beyond is a double's own digits, and is seen to be one.
    let is_whole = round.abs() < 9_007_199_254_740_992.0;
    Ok(Val::Num(if is_whole { Num::Int(round as isize) } else { Num::Float(round) }))
}
