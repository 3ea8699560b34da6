//! `repod web`: the dashboard's link, for a browser.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output;
use repod_proto::{ApiError, ErrorCode, Home, WebOpened, exit};
use repod_supervisor::files::write_atomic;

pub(crate) async fn run(open: bool, output: Output) -> Outcome {
    let client = client(output.no_start)?;
    let opened = client.web().await?;
    if let Some(warning) = &opened.warning {
        output::warn(warning);
    }
    if open {
        browse(client.home(), &opened)?;
    }
    if output.json {
        output::json(&opened);
        return Ok(exit::OK);
    }
    output::line(&opened.url);
    output::note(&format!("good for one login, until {}", opened.expires_at));
    if let (Some(port), true) = (port(&opened), std::env::var_os("SSH_CONNECTION").is_some()) {
        output::note(&format!("from where you sit: ssh -L {port}:127.0.0.1:{port} this-machine"));
    }
    Ok(exit::OK)
}

/// A browser is given a page that only its user can read, which leads on: arguments are seen by everybody.
fn browse(home: &Home, opened: &WebOpened) -> Result<(), ApiError> {
    let page = home.web_page();
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>repod</title>\
         <meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0;url={url}\"><a href=\"{url}\">repod</a>\n",
        url = opened.url
    );
    write_atomic(&page, text.as_bytes(), 0o600).map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("`{}`: {error}", page.display()))
    })?;
    open::that_detached(&page).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("no browser could be opened: {error}"))
            .hint("`repod web` prints the link to open yourself")
    })
}

fn port(opened: &WebOpened) -> Option<&str> {
    opened.origin.rsplit_once(':').map(|(_, port)| port)
}
