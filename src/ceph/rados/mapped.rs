//! Which file a function was loaded from.

use std::path::PathBuf;

/// The file mapped at an address of this process.
pub(super) fn loaded_from(address: usize) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        (start..end)
            .contains(&address)
            .then(|| rest.find('/').and_then(|at| rest.get(at..)))?
            .map(PathBuf::from)
    })
}
