//! What a monitor's return code means for us: go on, try later, or stop and say why.

/// What to do after a command that changes something was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted. It proves nothing until a view shows it.
    Accepted,
    /// Passing: plan again from a new view (`EAGAIN`, `EINTR`, `EBUSY`, `ENOENT`, `EEXIST`, a timeout inside Ceph).
    Later,
    /// The key lacks the capability (`EACCES`).
    Denied,
    /// A guard that an administrator can lift: a flag, a missing confirmation (`EPERM`).
    Guarded,
    /// A limit of the cluster, such as placement groups per OSD (`ERANGE`).
    Limit,
    /// Ceph will not do it with this value (`EINVAL`, `ENOTSUP`, …).
    Refused,
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ERANGE: i32 = 34;
/// Linux's number for a timed-out call, which librados gives as -110.
pub const ETIMEDOUT: i32 = 110;

/// Whether a reply means that the map moved since the plan was made, so that another plan may do at once.
pub const fn map_moved(code: i32) -> bool {
    matches!(code.saturating_neg(), ENOENT | EEXIST)
}

/// Judges the code of a reply (0 or a negative errno).
///
/// `ENOENT` and `EEXIST` mean that the map moved since the plan was made, so the plan is made
/// again; a plan that does not converge ends by the cap on rounds.
pub const fn judge(code: i32) -> Verdict {
    if code >= 0 {
        return Verdict::Accepted;
    }
    match code.saturating_neg() {
        EPERM => Verdict::Guarded,
        EACCES => Verdict::Denied,
        ERANGE => Verdict::Limit,
        ENOENT | EINTR | EAGAIN | EBUSY | EEXIST | ETIMEDOUT => Verdict::Later,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EACCES is about the key, EPERM about a guard: they are never mixed up.
    #[test]
    fn codes() {
        assert_eq!(judge(0), Verdict::Accepted);
        assert_eq!(judge(-1), Verdict::Guarded);
        assert_eq!(judge(-13), Verdict::Denied);
        assert_eq!(judge(-34), Verdict::Limit);
        assert_eq!(judge(-22), Verdict::Refused);
        assert_eq!(judge(-95), Verdict::Refused);
        for passing in [-2, -4, -11, -16, -17, -110] {
            assert_eq!(judge(passing), Verdict::Later, "{passing}");
            assert_eq!(
                map_moved(passing),
                [-2, -17].contains(&passing),
                "{passing}"
            );
        }
    }
}
