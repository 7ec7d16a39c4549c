//! `POST /v1/attachments`: a file's bytes come in as a stream and go to disk; its identifier and digest go out.

use super::{
    GatewayState, headers,
    office_directory::KnownOffice,
    office_request::{OfficeRequest, Reply},
    quota::{self, Share},
    submission_view,
};
use crate::{
    attachments::{Arrived, Arriving},
    domain::{AttachmentId, AttachmentRef, Code, lower_hex},
    http_server::{BodyDeadlines, BodyReader, Problem},
};
use axum::extract::State;
use http::StatusCode;
use serde_json::json;
use std::{io, sync::Arc};

/// What the first bytes of a file must be, for kinds of files where that is certain.
const BEGINNINGS: [(&str, &[u8]); 3] =
    [("application/pdf", b"%PDF-"), ("image/png", b"\x89PNG\r\n\x1a\n"), ("image/jpeg", b"\xff\xd8\xff")];

pub async fn upload(State(state): State<Arc<GatewayState>>, request: OfficeRequest) -> Reply {
    headers::require_plain(&request.headers)?;
    let settings = &state.settings.attachments;
    let media_type = headers::media_type(&request.headers).unwrap_or_default();
    if !settings.media_types.contains(&media_type) {
        let missing = if media_type.is_empty() { "is missing or doubled: " } else { "" };
        let problem = format!("{missing}must be one of {}", settings.media_types.join(", "));
        return Err(Problem::at(Code::AttachmentMediaType, "Content-Type", problem));
    }
    let wanted = headers::content_sha256(&request.headers)?;
    let mut share = Share::begin(&state.quota, &*state.journal, settings, &request.office.office.name).await?;
    let deadlines =
        BodyDeadlines { timeout: state.settings.body_timeout * 10, window: state.settings.body_timeout / 3 };
    let mut body = BodyReader::new(request.body, settings.max_bytes, Code::AttachmentTooLarge, deadlines)?;
    let mut arriving = state.attachments.begin().map_err(disk_fault)?;
    receive(&mut body, &mut arriving, &mut share, &media_type).await?;
    if wanted.is_some_and(|wanted| wanted != arriving.sha256()) {
        return Err(Code::AttachmentDigest.into());
    }
    let name = headers::file_name(&request.headers).unwrap_or_else(|| "attachment".into());
    let keeping = keep(state.clone(), request.office, arriving, share, media_type, name);
    // In a task of its own: an office that goes away now must not end it between the file and its row.
    let attachment = state.keeping.spawn(keeping).await.map_err(|_| Code::Internal)??;
    Ok(submission_view::json_response(StatusCode::CREATED, &json!(attachment)))
}

/// The file is written before its row, so that no row lacks its file; a file without a row is removed by housekeeping.
async fn keep(
    state: Arc<GatewayState>,
    office: Arc<KnownOffice>,
    arriving: Arriving,
    share: Share,
    media_type: String,
    name: String,
) -> Result<AttachmentRef, Problem> {
    let office = &office.office.name;
    let id = AttachmentId::new();
    let Arrived { sha256, size_bytes } = arriving.keep(id).await.map_err(disk_fault)?;
    let attachment = AttachmentRef { id, sha256: lower_hex(sha256), size_bytes, media_type, name };
    let added = state.journal.add_attachment(office, &attachment, &share.most, state.clock.now()).await;
    match added {
        Ok(Ok(())) => {
            share.keep();
            Ok(attachment)
        }
        Ok(Err(no_room)) => {
            let _ = state.attachments.remove(id).await;
            Err(quota::problem(no_room))
        }
        Err(error) => {
            // It may have been recorded all the same.
            if let Ok(None) = state.journal.attachment(office, id).await {
                let _ = state.attachments.remove(id).await;
            }
            Err(error.into())
        }
    }
}

async fn receive(
    body: &mut BodyReader,
    arriving: &mut Arriving,
    share: &mut Share,
    media_type: &str,
) -> Result<(), Problem> {
    let beginning = BEGINNINGS.iter().find(|(kind, _)| *kind == media_type).map_or(&b""[..], |(_, bytes)| bytes);
    let mut first = Vec::new();
    while let Some(chunk) = body.next().await? {
        if first.len() < beginning.len() {
            first.extend_from_slice(&chunk[..chunk.len().min(beginning.len() - first.len())]);
            if !beginning.starts_with(&first) {
                return Err(not_what_it_says());
            }
        }
        share.grow(chunk.len() as u64)?;
        arriving.write(&chunk).await.map_err(disk_fault)?;
    }
    match arriving.size_bytes() == 0 || first.len() < beginning.len() {
        true => Err(not_what_it_says()),
        false => Ok(()),
    }
}

fn not_what_it_says() -> Problem {
    Problem::at(Code::AttachmentMediaType, "", "the bytes are not of the media type that Content-Type names")
}

/// A full disk is not the office's fault, and passes.
fn disk_fault(error: io::Error) -> Problem {
    tracing::error!(%error, "an attachment could not be stored");
    Code::Overloaded.into()
}
