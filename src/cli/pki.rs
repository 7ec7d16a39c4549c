//! `punte pki`: keys and certificates for trying out.

use super::exit;
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
    agencies: Vec<crate::domain::AgencyName>,
}

impl Pki {
    pub fn run(self) -> u8 {
        let What::Dev(dev) = self.what;
        let is_used = std::fs::read_dir(&dev.out).is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            eprintln!("punte: {} is not empty; name a new folder", dev.out.display());
            return exit::FAILED;
        }
        let names: Vec<&str> = dev.agencies.iter().map(|agency| agency.as_str()).collect();
        match crate::trust::dev_pki::make(&dev.out, &names, jiff::Timestamp::now()) {
            Ok(_) => {
                println!("{}", dev.out.display());
                exit::DONE
            }
            Err(error) => {
                eprintln!("punte: {error}");
                exit::FAILED
            }
        }
    }
}
