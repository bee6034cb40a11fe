//! ffmpeg as a player.
//!
//! ffmpeg ends with code 0 even when every segment was refused, so what counts is how much it decoded.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tollgate::demo::origin;

use crate::loopback::Loopback;
use crate::tool;

/// What ffmpeg decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Played {
    /// Video frames.
    pub(crate) frames: u64,
    /// Seconds of media, by the last time stamp written.
    pub(crate) seconds: f64,
    /// What it complained of on the way.
    pub(crate) complaints: String,
}

/// Whether ffmpeg is here; skips aloud, or fails with `TOLLGATE_TESTS=all`.
pub(crate) fn ffmpeg_is_here() -> bool {
    tool::here("playing with ffmpeg", tool::find("ffmpeg").is_none().then_some("ffmpeg"))
}

/// Where `tests/run` puts a newer one.
const NEWER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/imageio/imageio_ffmpeg/binaries");

/// The programs that are here: the system's, and a newer one. Skips aloud, or fails with `TOLLGATE_TESTS=all`.
pub(crate) fn ffmpegs(what: &str) -> Vec<PathBuf> {
    let newer = std::fs::read_dir(NEWER).ok().into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let newer = newer.into_iter().find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ffmpeg-")));
    let all = [("ffmpeg", tool::find("ffmpeg")), ("a newer ffmpeg", newer)];
    all.into_iter().filter(|(name, found)| tool::here(what, found.is_none().then_some(name))).filter_map(|(_, found)| found).collect()
}

/// Plays `url` to its end as fast as it decodes, 60 s at most. `input` goes before the URL (`-headers`, `-cookies`, …).
/// `Err` is what ffmpeg wrote when it could not play.
pub(crate) fn ffmpeg_plays(url: &str, input: &[&str]) -> Result<Played, String> {
    played_by(Path::new("ffmpeg"), url, input)
}

/// The same by this program.
pub(crate) fn played_by(ffmpeg: &Path, url: &str, input: &[&str]) -> Result<Played, String> {
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-nostdin", "-loglevel", "warning", "-nostats", "-progress", "pipe:1"]);
    command.args(input).args(["-i", url, "-f", "null", "-"]);
    let ended = tool::run(&mut command, "", Duration::from_secs(60));
    if !ended.well() {
        return Err(format!("{:?}\n{}", ended.status, ended.stderr));
    }
    let last = |key: &str| {
        let lines = ended.stdout.lines().rev().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.filter_map(|value| value.trim().parse::<f64>().ok()).next().unwrap_or(0.0)
    };
    Ok(Played { frames: last("frame") as u64, seconds: last("out_time_us") / 1e6, complaints: ended.stderr.clone() })
}

/// The whole film, as [`ffmpeg_plays`] sees it: a frame or two may be lost at the end of a DASH presentation.
pub(crate) fn assert_whole_film(played: &Result<Played, String>, what: &str) {
    let played = played.as_ref().unwrap_or_else(|complaint| panic!("{what}: {complaint}"));
    assert!(played.frames >= 598 && played.seconds >= origin::SECONDS - 0.2, "{what}: {played:?}");
    assert!(!played.complaints.contains("HTTP error"), "{what}: {played:?}");
}

#[test]
fn ffmpeg_plays_the_bare_origin() {
    if !ffmpeg_is_here() {
        return;
    }
    let origin = Loopback::origin();
    for path in [origin::HLS, origin::DASH, origin::DOWNLOAD] {
        assert_whole_film(&ffmpeg_plays(&format!("{}{path}", origin.base), &[]), path);
    }
}

#[test]
fn a_refused_film_is_told_from_a_played_one() {
    if !ffmpeg_is_here() {
        return;
    }
    let origin = Loopback::open_origin();
    let complaint = ffmpeg_plays(&format!("{}/denied/master.m3u8", origin.base), &[]).expect_err("refused");
    assert!(complaint.contains("403"), "{complaint}");
}
