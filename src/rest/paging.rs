//! Pages of long lists, in Calamari's shape.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// How many there are on a page where a call does not say.
const PAGE_SIZE: u64 = 10;
/// The most there are.
const LARGEST: u64 = 1000;

/// Which page is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The number of the page, from 1.
    #[param(value_type = Option<u64>, minimum = 1, default = 1)]
    pub page: Option<String>,
    /// How many there are on a page.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000, default = 10)]
    pub page_size: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Paged<T> {
    /// How many there are on all pages.
    pub count: u64,
    /// Where the next page is, unless this is the last.
    #[schema(required = true)]
    pub next: Option<String>,
    /// Where the page before is, unless this is the first.
    #[schema(required = true)]
    pub previous: Option<String>,
    /// What is on this page.
    pub results: Vec<T>,
}

/// Takes a page of a list; `address` is that of the list, with what else is in the query.
///
/// # Errors
///
/// 400 for a page that there is not.
pub fn page<T, U>(
    all: Vec<T>,
    asked: &Page,
    address: &str,
    show: impl FnMut(T) -> U,
) -> Result<Paged<U>, Problem> {
    let number = read(asked.page.as_deref(), "page", 1, u64::MAX)?;
    let size = read(asked.page_size.as_deref(), "page_size", PAGE_SIZE, LARGEST)?;
    let count = all.len() as u64;
    let last = count.div_ceil(size).max(1);
    if number > last {
        return Err(Problem::invalid_field(
            "page",
            format!("there are {last} pages, and no page {number}"),
        ));
    }
    let joint = if address.contains('?') { '&' } else { '?' };
    let at = |number: u64| format!("{address}{joint}page={number}&page_size={size}");
    let (skip, take) = (
        usize::try_from((number - 1).saturating_mul(size)).unwrap_or(usize::MAX),
        usize::try_from(size).unwrap_or(usize::MAX),
    );
    Ok(Paged {
        count,
        next: (number < last).then(|| at(number + 1)),
        previous: (number > 1).then(|| at(number - 1)),
        results: all.into_iter().skip(skip).take(take).map(show).collect(),
    })
}

fn read(text: Option<&str>, name: &str, default: u64, most: u64) -> Result<u64, Problem> {
    let Some(text) = text else {
        return Ok(default);
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|_| digits);
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| {
            let bound = if most == u64::MAX {
                "from 1".to_owned()
            } else {
                format!("from 1 to {most}")
            };
            Problem::invalid_field(name, format!("{text:?} is no whole number {bound}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(page: &str, size: &str) -> Page {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Page {
            page: text(page),
            page_size: text(size),
        }
    }

    fn take(count: u64, page_of: &Page) -> Result<Paged<u64>, Problem> {
        page((1..=count).collect(), page_of, "/x?state=complete", |i| i)
    }

    /// Pages lead to each other, and hold everything once.
    #[test]
    fn pages() {
        let first = take(25, &asked("", "")).expect("a page");
        assert_eq!((first.count, first.results.len()), (25, 10));
        assert_eq!(first.previous, None);
        assert_eq!(
            first.next.as_deref(),
            Some("/x?state=complete&page=2&page_size=10")
        );
        let last = take(25, &asked("3", "10")).expect("a page");
        assert_eq!(last.results, [21, 22, 23, 24, 25]);
        assert_eq!(last.next, None);
        assert_eq!(
            last.previous.as_deref(),
            Some("/x?state=complete&page=2&page_size=10")
        );
        let full = take(20, &asked("2", "10")).expect("a page");
        assert_eq!((full.results.len(), full.next), (10, None));
        let none = take(0, &asked("1", "")).expect("an empty page");
        assert_eq!((none.count, none.next, none.previous), (0, None, None));
    }

    /// What is no page is the caller's mistake, and is named.
    #[test]
    fn no_pages() {
        for (page, size, field) in [
            ("0", "", "page"),
            ("4", "", "page"),
            ("-1", "", "page"),
            ("+1", "", "page"),
            ("x", "", "page"),
            ("99999999999999999999999", "", "page"),
            ("18446744073709551615", "1000", "page"),
            ("", "0", "page_size"),
            ("", "1001", "page_size"),
            ("", "1.5", "page_size"),
        ] {
            let problem = take(25, &asked(page, size)).expect_err("no such page");
            assert_eq!(problem.status, 400);
            assert_eq!(problem.field.as_deref(), Some(field), "{page:?} {size:?}");
        }
    }
}
