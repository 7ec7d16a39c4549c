//! `punte pki`: keys and certificates for trying out.

use super::{exit, output};
use crate::{
    domain::{AgencyName, OfficeName},
    kit::{
        dev_agencies,
        dev_pki::{self, Added, DevAgency, DevPki},
    },
    secret_file::exposed_below,
    trust::Algorithm,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  punte pki dev --out config/secrets
  punte pki dev --out /tmp/pki --agency civil-registry --agency legal-events
  punte pki dev --out config/secrets --office durres      # adds an office, or one more certificate of it
  punte pki dev --out config/secrets --agency tax-office  # adds an agency, or one more client certificate for it

A folder that has keys keeps them, and its authorities: what is named with --office and --agency is added.")]
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
    /// Where the files go: a new folder; or one made by this command, to add to it
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Offices to add to the usual ones
    #[arg(long = "office", value_name = "NAME")]
    offices: Vec<OfficeName>,
    /// Agencies to make keys for; without it, all that have a folder
    #[arg(long = "agency", value_name = "NAME")]
    agencies: Vec<AgencyName>,
    /// The folder of the agencies: their profiles say which kind of key signs messages
    #[arg(long, value_name = "FOLDER", default_value = "adapters")]
    adapters: PathBuf,
    /// Sign messages with P-256 keys, whatever the profiles say
    #[arg(long)]
    ecdsa: bool,
}

impl Dev {
    fn agencies(&self) -> Result<Vec<DevAgency>, String> {
        let known = match dev_agencies(&self.adapters) {
            Ok(known) => known,
            Err(_) if !self.agencies.is_empty() => Vec::new(),
            Err(error) => {
                let folder = self.adapters.display();
                return Err(format!("{folder}: {error}; name the folder with --adapters, or agencies with --agency"));
            }
        };
        let signing = |name: &str| known.iter().find(|agency| agency.name == name).map(|agency| agency.signing);
        let rsa = Algorithm::RsaSha256;
        let named = self.agencies.iter().map(AgencyName::as_str);
        let named = named.map(|name| DevAgency { name: name.into(), signing: signing(name).unwrap_or(rsa) }).collect();
        let mut agencies = if self.agencies.is_empty() { known } else { named };
        if self.ecdsa {
            agencies.iter_mut().for_each(|agency| agency.signing = Algorithm::EcdsaSha256);
        }
        Ok(agencies)
    }
}

impl Pki {
    pub fn run(self) -> u8 {
        let What::Dev(dev) = self.what;
        match dev.run(Timestamp::now()) {
            Ok(()) => {
                let warnings = exposed_below(&dev.out);
                warnings.iter().for_each(|warning| output::aside(format_args!("warning: {warning}")));
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

impl Dev {
    fn run(&self, now: Timestamp) -> Result<(), String> {
        let pki = DevPki { dir: self.out.clone() };
        let is_used = std::fs::read_dir(&self.out).is_ok_and(|mut entries| entries.next().is_some());
        let agencies = if is_used { self.agencies_to_add(&pki)? } else { Vec::new() };
        if !is_used {
            dev_pki::make(&self.out, &self.agencies()?, now).map_err(|error| error.to_string())?;
        }
        for office in &self.offices {
            tell(&dev_pki::add_office(&pki, office.as_str(), now).map_err(|error| error.to_string())?);
        }
        for agency in agencies {
            tell(&dev_pki::add_agency(&pki, &agency, now).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn agencies_to_add(&self, pki: &DevPki) -> Result<Vec<DevAgency>, String> {
        let out = self.out.display();
        if self.offices.is_empty() && self.agencies.is_empty() {
            return Err(format!(
                "{out} is not empty; name a new folder, or say with --office and --agency what to add"
            ));
        }
        if !pki.authority_key("offices").is_file() {
            return Err(format!(
                "{out} has no authorities' keys to issue with; name a folder that `punte pki dev` made"
            ));
        }
        if self.agencies.is_empty() { Ok(Vec::new()) } else { self.agencies() }
    }
}

fn tell(added: &Added) {
    match added {
        Added::Office { name, certificate, identifier } => output::line(format_args!(
            "{}: in offices.toml: [[offices.{name}.certificates]] organization_identifier = \"{identifier}\"",
            certificate.display()
        )),
        Added::Client { certificate } => output::line(format_args!("{}", certificate.display())),
        Added::Agency { name } => output::line(format_args!("agencies/{name}, simulators/{name}")),
    }
}
