//! Logins are shared by link: OpenCode writes these files in place, so a link survives, while a
//! copy would fork rotating OAuth tokens at the first refresh.

use super::user::User;
use crate::files::{self, Linked};
use std::io;
use std::path::Path;

const FILES: [&str; 2] = ["auth.json", "mcp-auth.json"];

/// Links the login files of `data` (the backend's own `data/opencode`) to the user's.
pub(super) fn share(data: &Path, user: &User, warnings: &mut Vec<String>) -> io::Result<()> {
    // The files need not exist, a write goes through the link; but their directory must, or every
    // login in the backend fails (1.18.33: 500). OpenCode itself makes it at its first run.
    if let Err(error) = files::new_dir(&user.data) {
        warnings.push(format!("logins made in this backend can't be kept: {error}"));
    }
    for name in FILES {
        let own = data.join(name);
        let target = user.data.join(name);
        if files::link(&own, &target)? == Linked::Occupied {
            warnings.push(format!(
                "`{}` is a file, not the link repod makes: this backend doesn't share your logins; \
                 move what you need of it to `{}` and remove it",
                own.display(),
                target.display()
            ));
        }
    }
    Ok(())
}
