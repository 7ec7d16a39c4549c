//! What operators' subcommands share: the configuration file comes in, the open journal goes out.

use super::{ConfigFile, exit, output};
use crate::{
    journal::{Journal, JournalError},
    roles::open_journal,
    settings::{JournalPlace, Settings},
};
use std::{future::Future, sync::Arc};

/// Opens the journal that the configuration names, does the work with it, and turns failures into exit codes.
pub fn with_journal<F, W>(config: &ConfigFile, work: W) -> u8
where
    W: FnOnce(Arc<dyn Journal>) -> F,
    F: Future<Output = Result<u8, JournalError>>,
{
    let settings = match Settings::load(&config.config) {
        Ok(settings) => settings,
        Err(faults) => {
            output::aside(faults.to_string().trim_end());
            return exit::CONFIGURATION;
        }
    };
    if let JournalPlace::Sqlite { path } = &settings.journal.place
        && !path.exists()
    {
        let path = path.display();
        output::aside(format_args!(
            "punte: there is no journal at {path} yet: `punte serve` makes it; is --config right?"
        ));
        return exit::FAILED;
    }
    let done = super::block_on(async {
        let journal = open_journal(&settings.journal).await.map_err(|error| error.to_string())?;
        work(journal).await.map_err(|error| error.to_string())
    });
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            output::aside(format_args!("punte: {error}"));
            exit::FAILED
        }
        Err(code) => code,
    }
}
