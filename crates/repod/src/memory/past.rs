//! What was measured, for those who draw it: since when, and no more of it than can be seen.

use super::history;
use repod_proto::MemorySample;
use repod_supervisor::log_tail::tail;
use std::io;
use std::path::Path;

/// Somebody who looks on has nearly always seen all but the last few lines.
const END: u64 = 64 * 1024;

/// What was measured after that moment, the oldest first; everything where there is none.
pub(crate) fn after(log: &Path, moment: Option<&str>) -> io::Result<Vec<MemorySample>> {
    let Some(moment) = moment else { return history(log) };
    let end = tail(log, END, 0)?;
    let mut samples: Vec<MemorySample> =
        end.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if samples.first().is_none_or(|first| first.at.as_str() > moment) {
        samples = history(log)?;
    }
    // All are written in one form, so that they sort as text.
    samples.retain(|sample| sample.at.as_str() > moment);
    Ok(samples)
}

/// At most `points` of them: the largest of each stretch, so that no peak is lost, and the last.
pub(crate) fn thinned(mut samples: Vec<MemorySample>, points: usize) -> Vec<MemorySample> {
    let points = points.max(2);
    if samples.len() <= points {
        return samples;
    }
    let Some(last) = samples.pop() else { return samples };
    let stretch = samples.len().div_ceil(points - 1);
    let largest = |stretch: &[MemorySample]| {
        stretch.iter().max_by_key(|sample| sample.usage.pss.max(sample.usage.rss)).cloned()
    };
    let mut kept: Vec<_> = samples.chunks(stretch).filter_map(largest).collect();
    kept.push(last);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use repod_proto::{Generation, TreeUsage};

    fn sample(minute: usize, pss: u64) -> MemorySample {
        MemorySample {
            at: format!("2026-01-01T00:{minute:02}:00.000Z"),
            generation: Generation(1),
            usage: TreeUsage { pss, ..TreeUsage::default() },
            growing: None,
        }
    }

    #[test]
    fn peaks_and_the_last_are_kept() {
        let all: Vec<_> = (0..60).map(|n| sample(n, if n == 31 { 900 } else { 5 })).collect();
        for points in [2, 3, 10, 59] {
            let kept = thinned(all.clone(), points);
            assert!(kept.len() <= points, "{points}: {}", kept.len());
            assert!(kept.is_sorted_by(|a, b| a.at < b.at));
            assert_eq!(kept.last(), all.last());
            assert!(kept.contains(&all[31]), "{points}");
        }
        assert_eq!(thinned(all.clone(), 60), all);
        assert_eq!(thinned(Vec::new(), 0), []);
    }

    #[test]
    fn only_what_is_new_is_told_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("memory.jsonl");
        let text = |samples: &[MemorySample]| -> String {
            samples.iter().map(|it| format!("{}\n", serde_json::to_string(it).unwrap())).collect()
        };
        let (old, new) = ([sample(1, 1), sample(2, 2)], [sample(3, 3), sample(4, 4)]);
        fs_err::write(dir.path().join("memory.jsonl.1"), text(&old)).unwrap();
        fs_err::write(&log, text(&new)).unwrap();
        assert_eq!(after(&log, None).unwrap().len(), 4);
        let told = |moment: &MemorySample| after(&log, Some(&moment.at)).unwrap();
        assert_eq!(told(&old[0]), [old[1].clone(), new[0].clone(), new[1].clone()]);
        assert_eq!(told(&new[0]), [new[1].clone()]);
        assert!(told(&new[1]).is_empty());
    }
}
