//! Sign: what an exchange came to comes in, how it speaks for the agency's health goes out.

use crate::domain::{Code, Fault, Origin};

/// How an exchange speaks for the agency's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The agency answered, be it a yes or a no.
    Well,
    /// Agency or network failed.
    Ill,
    /// Nothing was learnt: the agency was not asked.
    None,
}

impl Sign {
    /// What a fault says about the agency. A business refusal, a bad template or a request that the agency finds wrong
    /// is no sign of illness.
    pub fn of_fault(fault: &Fault) -> Self {
        match (fault.code.origin(), fault.code) {
            (Origin::Bus | Origin::Office, _) => Sign::None,
            (_, Code::AgencyClientError | Code::AgencySoapClientFault | Code::AgencyFault | Code::AnswerMismatched) => {
                Sign::Well
            }
            (Origin::Network | Origin::Agency, _) => Sign::Ill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Stage;

    #[test]
    fn only_agency_and_network_faults_are_signs_of_illness() {
        let sign = |code| Sign::of_fault(&Fault::new(code, Stage::Send, ""));
        assert_eq!(sign(Code::NetworkTimeout), Sign::Ill);
        assert_eq!(sign(Code::AgencyUnavailable), Sign::Ill);
        assert_eq!(sign(Code::AnswerSignature), Sign::Ill);
        assert_eq!(sign(Code::AgencyClientError), Sign::Well);
        assert_eq!(sign(Code::TemplateFailed), Sign::None);
    }
}
