//! Several subjects come in; short rounds of each alternate, so that whatever else the machine does meets all of them; the
//! medians go out.

use crate::{
    agency::Agency,
    figures::{Clocks, Figures, Round},
    load_client::{Question, Run, ask, offer},
    process::Usage,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Somebody who is measured.
pub struct Subject<'a> {
    pub name: &'static str,
    pub pids: Vec<u32>,
    /// Its PostgreSQL's first process, if that is ours.
    pub database: Option<u32>,
    pub question: Question,
    /// Whose signed answers it uses up; `None` for the floor.
    pub agency: Option<&'a Agency>,
    /// What goes on meanwhile and is not measured.
    pub beside: Option<Beside>,
}

/// Requests that others send at their own pace.
pub struct Beside {
    pub question: Question,
    pub clients: usize,
    pub per_second: f64,
}

/// How it is measured.
#[derive(Debug, Clone)]
pub struct Rules {
    pub scenario: &'static str,
    pub rounds: usize,
    pub seconds: f64,
    /// Over so long the clients begin, one after the other.
    pub spread: Duration,
    /// RabbitMQ's process, if there is one.
    pub broker: Option<u32>,
}

/// What a process does after its last answer belongs to its requests: so long is waited for it.
const AFTERMATH: Duration = Duration::from_millis(150);
/// Signed answers for a client's second, before it is known how many it takes; and how many all take at the most.
const ANSWERS_A_CLIENT: f64 = 900.0;
const ANSWERS_AT_MOST: f64 = 4000.0;

impl Rules {
    /// The figures of each subject, in their order.
    pub async fn interleaved(&self, subjects: &[Subject<'_>], clients: usize) -> anyhow::Result<Vec<Figures>> {
        self.interleave_with(subjects, clients, async || Ok(())).await
    }

    /// With something else that has its turn in every round.
    pub async fn interleave_with(
        &self,
        subjects: &[Subject<'_>],
        clients: usize,
        mut other: impl AsyncFnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Figures>> {
        let mut rounds = vec![Vec::<Round>::new(); subjects.len()];
        for round in 0..self.rounds {
            // Who begins changes from one round to the next.
            for turn in 0..subjects.len() {
                let number = (round + turn) % subjects.len();
                let rate = rounds[number].last().map(|round| round.per_second);
                rounds[number].push(self.round(&subjects[number], clients, rate).await?);
            }
            other().await?;
        }
        let figures =
            |(subject, rounds): (&Subject<'_>, &Vec<Round>)| Figures::of(self.scenario, subject.name, clients, rounds);
        Ok(subjects.iter().zip(&rounds).map(figures).collect())
    }

    pub async fn round(&self, subject: &Subject<'_>, clients: usize, rate: Option<f64>) -> anyhow::Result<Round> {
        if let Some(agency) = subject.agency {
            let guess = (ANSWERS_A_CLIENT * clients as f64).min(ANSWERS_AT_MOST);
            let rate = rate.map_or(guess, |rate| rate * 1.3);
            let beside = subject.beside.as_ref().map_or(0.0, |beside| beside.per_second);
            agency.stock_up(((rate + beside) * self.seconds) as usize + 2 * clients).await?;
        }
        let answered = Arc::new(AtomicUsize::new(0));
        let mut beside = match &subject.beside {
            Some(beside) => Some(offer(&beside.question, beside.clients, beside.per_second, &answered).await?),
            None => None,
        };
        let (begun, duration) = (Instant::now(), Duration::from_secs_f64(self.seconds));
        let run = Run { clients, duration, spread: self.spread };
        let (served, begin) = ask(&subject.question, run, || self.clocks(subject)).await?;
        if beside.is_some() {
            let rate = answered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
            eprintln!("{}: {rate:.0} requests/s were answered beside it", subject.name);
        }
        // Those beside go on until they are no longer wanted.
        if let Some(Some(ended)) = beside.as_mut().map(JoinSet::try_join_next) {
            ended??;
        }
        drop(beside);
        tokio::time::sleep(AFTERMATH).await;
        Ok(Round::new(&served, begin?, self.clocks(subject)?))
    }

    fn clocks(&self, subject: &Subject<'_>) -> anyhow::Result<Clocks> {
        let broker = self.broker.map_or(Ok(Usage::default()), Usage::of)?;
        let database = subject.database.map_or(Ok(Usage::default()), Usage::of_server)?;
        Ok(Clocks { subject: Usage::of_all(&subject.pids)?, own: Usage::of_self()?, broker, database })
    }
}
