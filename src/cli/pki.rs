//! `punte pki`: keys and certificates for trying out.

use super::{exit, output};
use crate::{
    domain::AgencyName,
    trust::{Algorithm, dev_pki},
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  punte pki dev --out config/secrets
  punte pki dev --out /tmp/pki --agency civil-registry --agency legal-events")]
pub struct Pki {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a throw-away PKI: authorities, offices, the gateway, and both sides of each agency
    Dev(Dev),
}

#[derive(Args)]
struct Dev {
    /// Where the files go; the folder must be empty or not exist
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Agencies to make keys for
    #[arg(long = "agency", value_name = "NAME", default_values = ["civil-registry", "legal-events"])]
    agencies: Vec<AgencyName>,
    /// Sign messages with P-256 keys instead of RSA-2048
    #[arg(long)]
    ecdsa: bool,
}

impl Pki {
    pub fn run(self) -> u8 {
        let What::Dev(dev) = self.what;
        let is_used = std::fs::read_dir(&dev.out).is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            output::aside(format_args!("punte: {} is not empty; name a new folder", dev.out.display()));
            return exit::FAILED;
        }
        let signing = if dev.ecdsa { Algorithm::EcdsaSha256 } else { Algorithm::RsaSha256 };
        let agency = |name: &AgencyName| dev_pki::DevAgency { name: name.to_string(), signing };
        let agencies: Vec<_> = dev.agencies.iter().map(agency).collect();
        match dev_pki::make(&dev.out, &agencies, jiff::Timestamp::now()) {
            Ok(_) => {
                output::line(format_args!("{}: for trying out only, never for real data", dev.out.display()));
                exit::DONE
            }
            Err(error) => {
                output::aside(format_args!("punte: {error}"));
                exit::FAILED
            }
        }
    }
}
