//! librados, loaded at run time: the only unsafe code of this program.
//!
//! Nothing here decides anything. What leaves this file is safe to use from any thread and
//! cannot be used wrongly: a closed cluster handle answers that it is closed.
#![expect(unsafe_code, reason = "librados is a C library")]

use std::error::Error as _;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard, TryLockError};

type RawCluster = *mut c_void;
type Create2 = unsafe extern "C" fn(*mut RawCluster, *const c_char, *const c_char, u64) -> c_int;
type ConfSet = unsafe extern "C" fn(RawCluster, *const c_char, *const c_char) -> c_int;
type ConfReadFile = unsafe extern "C" fn(RawCluster, *const c_char) -> c_int;
type Connect = unsafe extern "C" fn(RawCluster) -> c_int;
type Shutdown = unsafe extern "C" fn(RawCluster);
type ClusterFsid = unsafe extern "C" fn(RawCluster, *mut c_char, usize) -> c_int;
type BufferFree = unsafe extern "C" fn(*mut c_char);
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int);
type MonCommand = unsafe extern "C" fn(
    RawCluster,
    *mut *const c_char,
    usize,
    *const c_char,
    usize,
    *mut *mut c_char,
    *mut usize,
    *mut *mut c_char,
    *mut usize,
) -> c_int;

/// Handles that are not shut down.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The loaded library. Never unloaded: its threads and exit handlers outlive any handle.
#[derive(Debug)]
pub struct Library {
    create2: Create2,
    conf_set: ConfSet,
    conf_read_file: ConfReadFile,
    connect: Connect,
    shutdown: Shutdown,
    cluster_fsid: ClusterFsid,
    mon_command: MonCommand,
    buffer_free: BufferFree,
    version: Version,
    path: PathBuf,
    _loaded: libloading::Library,
}

impl Library {
    /// Loads the library of this name or path; the error is a sentence for a person.
    pub(super) fn load(name: &OsStr) -> Result<Self, String> {
        let say = |error: &libloading::Error| match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        // SAFETY: loading runs the library's initializers. For librados these are C++ static
        // objects, which may be made on any thread; it is never unloaded (see `library`).
        let loaded = unsafe { libloading::Library::new(name) }.map_err(|error| say(&error))?;
        let version: Version = symbol(&loaded, c"rados_version")?;
        let path = loaded_from(version as usize).unwrap_or_else(|| PathBuf::from(name));
        Ok(Self {
            create2: symbol(&loaded, c"rados_create2")?,
            conf_set: symbol(&loaded, c"rados_conf_set")?,
            conf_read_file: symbol(&loaded, c"rados_conf_read_file")?,
            connect: symbol(&loaded, c"rados_connect")?,
            shutdown: symbol(&loaded, c"rados_shutdown")?,
            cluster_fsid: symbol(&loaded, c"rados_cluster_fsid")?,
            mon_command: symbol(&loaded, c"rados_mon_command")?,
            buffer_free: symbol(&loaded, c"rados_buffer_free")?,
            version,
            path,
            _loaded: loaded,
        })
    }

    /// The file it was loaded from, which names the release (`librados.so.2.0.0` does not).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the interface: 3.0.0 in Ceph 16, 18 and 20 alike.
    pub fn version(&self) -> (i32, i32, i32) {
        let (mut major, mut minor, mut extra) = (0, 0, 0);
        // SAFETY: writes three integers.
        unsafe { (self.version)(&raw mut major, &raw mut minor, &raw mut extra) };
        (major, minor, extra)
    }

    /// Copies a buffer that librados allocated, and frees it.
    fn take(&self, buffer: *mut c_char, length: usize) -> Vec<u8> {
        if buffer.is_null() {
            return Vec::new();
        }
        // SAFETY: librados gave this pointer with the length of what it allocated there; it
        // is read before it is freed, and freed once, since the caller drops the pointer.
        unsafe {
            let bytes = std::slice::from_raw_parts(buffer.cast::<u8>(), length).to_vec();
            (self.buffer_free)(buffer);
            bytes
        }
    }
}

/// Finds a function of the library.
fn symbol<F: Copy>(library: &libloading::Library, name: &CStr) -> Result<F, String> {
    // SAFETY: the types above are those of rados/librados.h, which has not changed them since
    // Ceph 0.94. `Option` makes a null address `None`; libloading checks the size.
    unsafe { library.get::<Option<F>>(name) }
        .ok()
        .and_then(|found| *found)
        .ok_or_else(|| format!("it has no {}", name.to_string_lossy()))
}

/// The file mapped at an address of this process.
fn loaded_from(address: usize) -> Option<PathBuf> {
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

/// A reply as librados gives it.
#[derive(Debug)]
pub(super) struct RawReply {
    /// 0 or a negative errno.
    pub(super) code: i32,
    /// The monitor's sentence.
    pub(super) text: Vec<u8>,
    /// The monitor's data.
    pub(super) body: Vec<u8>,
}

/// A cluster handle (`rados_t`). Shut down when dropped, at the latest.
pub(super) struct Cluster {
    library: &'static Library,
    raw: RawCluster,
    /// Whether it is shut down. Read by every command for as long as it is inside librados.
    shut: RwLock<bool>,
}

// SAFETY: librados handles may be used from any thread, and from several at once; what may
// not happen is a call after the shutdown, which `shut` prevents.
unsafe impl Send for Cluster {}
// SAFETY: as above.
unsafe impl Sync for Cluster {}

impl Cluster {
    /// A handle that is not connected, for `client.NAME`. Errors here and below are negative errnos.
    pub(super) fn create(library: &'static Library, entity: &CStr) -> Result<Self, i32> {
        let mut raw = ptr::null_mut();
        // Without the cluster's (local) name librados heeds no option before it has connected,
        // and prints on stderr until then.
        let name = c"ceph";
        // SAFETY: both names are C strings, the handle is written to a valid place.
        let code = unsafe { (library.create2)(&raw mut raw, name.as_ptr(), entity.as_ptr(), 0) };
        if code < 0 || raw.is_null() {
            return Err(code);
        }
        OPEN.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            library,
            raw,
            shut: RwLock::new(false),
        })
    }

    /// Sets an option.
    pub(super) fn set(&mut self, option: &CStr, value: &CStr) -> Result<(), i32> {
        // SAFETY: nobody else has the handle (`&mut`), so it is open; librados copies both.
        check(unsafe { (self.library.conf_set)(self.raw, option.as_ptr(), value.as_ptr()) })
    }

    /// Reads a ceph.conf.
    pub(super) fn read_file(&mut self, path: &CStr) -> Result<(), i32> {
        // SAFETY: nobody else has the handle (`&mut`), so it is open; the path is a C string.
        check(unsafe { (self.library.conf_read_file)(self.raw, path.as_ptr()) })
    }

    /// Connects, for as long as `client_mount_timeout` says.
    pub(super) fn connect(&mut self) -> Result<(), i32> {
        // SAFETY: nobody else has the handle (`&mut`), so it is open and stays so.
        check(unsafe { (self.library.connect)(self.raw) })
    }

    /// The ID of the cluster that answered.
    pub(super) fn fsid(&mut self) -> Result<String, i32> {
        let mut buffer = [0_u8; 64];
        // SAFETY: nobody else has the handle (`&mut`), so it is open; the buffer is as long as said.
        let written = unsafe {
            (self.library.cluster_fsid)(self.raw, buffer.as_mut_ptr().cast(), buffer.len())
        };
        check(written)?;
        let length = usize::try_from(written).unwrap_or(0);
        let text = buffer.get(..length).unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Sends a command and blocks until the reply, or until `rados_mon_op_timeout`.
    /// `None`: the handle is shut down, nothing was sent.
    pub(super) fn mon_command(&self, command: &CStr) -> Option<RawReply> {
        let shut = self.shut.read().unwrap_or_else(PoisonError::into_inner);
        if *shut {
            return None;
        }
        let mut parts = [command.as_ptr()];
        let (mut body, mut body_length) = (ptr::null_mut(), 0);
        let (mut text, mut text_length) = (ptr::null_mut(), 0);
        // SAFETY: the handle is open, and stays so while `shut` is read. The command is one C
        // string without input; the out pointers are valid and null until librados puts
        // buffers of its own there.
        let code = unsafe {
            (self.library.mon_command)(
                self.raw,
                parts.as_mut_ptr(),
                parts.len(),
                ptr::null(),
                0,
                &raw mut body,
                &raw mut body_length,
                &raw mut text,
                &raw mut text_length,
            )
        };
        drop(shut);
        Some(RawReply {
            code,
            text: self.library.take(text, text_length),
            body: self.library.take(body, body_length),
        })
    }

    /// Closes the session when all that is inside has returned.
    ///
    /// librados can also be closed around commands that wait, which mostly end with -110 then.
    /// Not always: with 400 of them on 16 it now and then waits for ever, and so do they.
    pub(super) fn shutdown(&self) {
        self.shut(self.shut.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The same, or nothing while a command is inside.
    pub(super) fn try_shutdown(&self) {
        match self.shut.try_write() {
            Ok(shut) => self.shut(shut),
            Err(TryLockError::Poisoned(shut)) => self.shut(shut.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn shut(&self, mut shut: RwLockWriteGuard<'_, bool>) {
        if !*shut {
            *shut = true;
            // SAFETY: the first and only call (`shut` was false), with nothing inside and
            // nothing to come in: both would need to read `shut`.
            unsafe { (self.library.shutdown)(self.raw) };
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn check(code: c_int) -> Result<(), i32> {
    if code < 0 { Err(code) } else { Ok(()) }
}

/// How many handles there are that are not shut down.
pub(super) fn open_clusters() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// Has `handler` run when the process ends, before what was asked for earlier. It gets the
/// exit status, and an argument that means nothing.
#[cfg(target_env = "gnu")]
pub(super) fn on_exit(handler: extern "C" fn(c_int, *mut c_void)) {
    unsafe extern "C" {
        fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    // SAFETY: glibc's own function; the handler lives as long as the program.
    let code = unsafe { on_exit(handler, ptr::null_mut()) };
    if code != 0 {
        tracing::warn!("ceph sessions will not be closed when the program ends");
    }
}

/// Ends the process now, without the exit handlers that are still to come.
#[cfg(target_env = "gnu")]
pub(super) fn end_now(status: c_int) -> ! {
    unsafe extern "C" {
        fn _exit(status: c_int) -> !;
    }
    // SAFETY: may be called at any time.
    unsafe { _exit(status) }
}
