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
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::mapped::loaded_from;

type RawCluster = *mut c_void;
type RawIo = *mut c_void;
type RawListing = *mut c_void;
type RawReadOp = *mut c_void;
type RawOmap = *mut c_void;
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

/// Linux's number for a result that does not fit.
const ERANGE: i32 = 34;
/// Linux's number for a handle that is closed.
const ESHUTDOWN: i32 = 108;

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
    objects: Objects,
    path: PathBuf,
    _loaded: libloading::Library,
}

/// Declares the functions that read what pools hold, and how they are found.
macro_rules! objects {
    ($($field:ident: fn($($argument:ty),*) $(-> $result:ty)?, $name:literal;)*) => {
        /// The functions that read what pools hold.
        #[derive(Debug)]
        struct Objects {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Objects {
            fn find(loaded: &libloading::Library) -> Result<Self, String> {
                Ok(Self { $($field: symbol(loaded, $name)?,)* })
            }
        }
    };
}

type Text = *const c_char;
type Out<T> = *mut T;

objects! {
    wait_for_latest_map: fn(RawCluster) -> c_int, c"rados_wait_for_latest_osdmap";
    reverse_lookup: fn(RawCluster, i64, *mut c_char, usize) -> c_int, c"rados_pool_reverse_lookup";
    io_create2: fn(RawCluster, i64, Out<RawIo>) -> c_int, c"rados_ioctx_create2";
    io_destroy: fn(RawIo), c"rados_ioctx_destroy";
    set_namespace: fn(RawIo, Text), c"rados_ioctx_set_namespace";
    snap_list: fn(RawIo, *mut u64, c_int) -> c_int, c"rados_ioctx_snap_list";
    read: fn(RawIo, Text, *mut c_char, usize, u64) -> c_int, c"rados_read";
    list_open: fn(RawIo, Out<RawListing>) -> c_int, c"rados_nobjects_list_open";
    // The name, the locator and the namespace, then their lengths.
    list_next2: fn(RawListing, Out<Text>, Out<Text>, Out<Text>, Out<usize>, Out<usize>, Out<usize>) -> c_int,
        c"rados_nobjects_list_next2";
    list_close: fn(RawListing), c"rados_nobjects_list_close";
    create_read_op: fn() -> RawReadOp, c"rados_create_read_op";
    release_read_op: fn(RawReadOp), c"rados_release_read_op";
    operate: fn(RawReadOp, RawIo, Text, c_int) -> c_int, c"rados_read_op_operate";
    // After which key, of which prefix, how many; what was found, whether there is more, the code.
    omap_get_vals2: fn(RawReadOp, Text, Text, u64, Out<RawOmap>, Out<u8>, Out<c_int>),
        c"rados_read_op_omap_get_vals2";
    omap_next2: fn(RawOmap, Out<*mut c_char>, Out<*mut c_char>, Out<usize>, Out<usize>) -> c_int,
        c"rados_omap_get_next2";
    omap_end: fn(RawOmap), c"rados_omap_get_end";
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
            objects: Objects::find(&loaded)?,
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
    // they came, in Ceph 16 at the latest. `Option` makes a null address `None`; libloading checks the size.
    unsafe { library.get::<Option<F>>(name) }
        .ok()
        .and_then(|found| *found)
        .ok_or_else(|| format!("it has no {}", name.to_string_lossy()))
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

    /// Waits until the session has the newest OSD map that its monitor has.
    pub(super) fn wait_for_latest_map(&self) -> Result<(), i32> {
        let shut = self.opened()?;
        // SAFETY: the handle is open, and stays so while `shut` is read.
        let code = unsafe { (self.library.objects.wait_for_latest_map)(self.raw) };
        drop(shut);
        check(code)
    }

    /// A pool's name in the session's own map; `ENOENT` when it has no such pool.
    pub(super) fn pool_name(&self, pool: i64) -> Result<String, i32> {
        let mut buffer = [0_u8; 1024];
        let shut = self.opened()?;
        // SAFETY: the handle is open, and stays so while `shut` is read; the buffer is as long
        // as said.
        let written = unsafe {
            (self.library.objects.reverse_lookup)(
                self.raw,
                pool,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        drop(shut);
        check(written)?;
        let name = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }

    fn opened(&self) -> Result<RwLockReadGuard<'_, bool>, i32> {
        let shut = self.shut.read().unwrap_or_else(PoisonError::into_inner);
        if *shut { Err(-ESHUTDOWN) } else { Ok(shut) }
    }

    /// Opens a pool by its ID, which is not looked up: of a pool that is not there, every
    /// object is missing. The session stays open for as long as the context lives.
    pub(super) fn io_context(&self, pool: i64) -> Result<IoContext<'_>, i32> {
        let shut = self.opened()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is open, and stays so while `shut` is read, which the context does
        // for all its life; it is written to a valid place.
        check(unsafe { (self.library.objects.io_create2)(self.raw, pool, &raw mut raw) })?;
        Ok(IoContext {
            objects: &self.library.objects,
            raw,
            _shut: shut,
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

/// A pool of a session (`rados_ioctx_t`). Only reads; used by the thread that made it.
pub(super) struct IoContext<'a> {
    objects: &'static Objects,
    raw: RawIo,
    /// Keeps the session from being shut down.
    _shut: RwLockReadGuard<'a, bool>,
}

impl IoContext<'_> {
    /// What follows is about this namespace; `"\u{1}"` is all of them, for listings.
    pub(super) fn set_namespace(&mut self, namespace: &CStr) {
        // SAFETY: the context is open; librados copies the name.
        unsafe { (self.objects.set_namespace)(self.raw, namespace.as_ptr()) };
    }

    /// How many snapshots of the pool as a whole the session's map shows.
    pub(super) fn pool_snapshots(&self) -> Result<usize, i32> {
        let mut ids = [0_u64; 1];
        // SAFETY: the context is open; at most as many IDs are written as there is room for.
        let code = unsafe { (self.objects.snap_list)(self.raw, ids.as_mut_ptr(), 1) };
        match code {
            count if count >= 0 => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            // More than there is room for.
            code if code == -ERANGE => Ok(2),
            code => Err(code),
        }
    }

    /// Reads an object's data from `offset`; how much was read.
    pub(super) fn read(&self, object: &CStr, buffer: &mut [u8], offset: u64) -> Result<usize, i32> {
        // SAFETY: the context is open, the name is a C string, and the buffer as long as said.
        let code = unsafe {
            (self.objects.read)(
                self.raw,
                object.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                offset,
            )
        };
        check(code)?;
        Ok(usize::try_from(code).unwrap_or(0))
    }

    /// At most `most` of the keys and values an object has, those behind `after` that begin
    /// with `prefix`; and whether there are more.
    pub(super) fn omap(
        &self,
        object: &CStr,
        after: &CStr,
        prefix: &CStr,
        most: u64,
    ) -> Result<(Vec<KeyValue>, bool), i32> {
        let objects = self.objects;
        let (mut found, mut more, mut code) = (ptr::null_mut(), 0_u8, 0);
        // SAFETY: the strings are C strings and the places valid until the operation is over and
        // released, which is here. librados makes the iterator before the operation begins; it
        // is read only when that succeeded, and ended once in any case.
        unsafe {
            let op = (objects.create_read_op)();
            (objects.omap_get_vals2)(
                op,
                after.as_ptr(),
                prefix.as_ptr(),
                most,
                &raw mut found,
                &raw mut more,
                &raw mut code,
            );
            let done = (objects.operate)(op, self.raw, object.as_ptr(), 0);
            let pairs = check(done)
                .and_then(|()| check(code))
                .and_then(|()| read_omap(objects, found));
            (objects.omap_end)(found);
            (objects.release_read_op)(op);
            Ok((pairs?, more != 0))
        }
    }

    /// Begins to list the objects of the namespace.
    pub(super) fn list(&self) -> Result<Listing<'_>, i32> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is open; the listing is written to a valid place.
        check(unsafe { (self.objects.list_open)(self.raw, &raw mut raw) })?;
        Ok(Listing { io: self, raw })
    }
}

impl Drop for IoContext<'_> {
    fn drop(&mut self) {
        // SAFETY: made by librados and destroyed once; listings borrow it and are gone.
        unsafe { (self.objects.io_destroy)(self.raw) };
    }
}

/// A key of an object and its value.
pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// Reads what an operation that succeeded has found.
///
/// # Safety
/// `found` is the iterator of that operation, and not ended.
unsafe fn read_omap(objects: &Objects, found: RawOmap) -> Result<Vec<KeyValue>, i32> {
    let mut pairs = Vec::new();
    loop {
        let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
        let (mut key_length, mut value_length) = (0, 0);
        // SAFETY: the iterator is valid by contract, and so are the places.
        let code = unsafe {
            (objects.omap_next2)(
                found,
                &raw mut key,
                &raw mut value,
                &raw mut key_length,
                &raw mut value_length,
            )
        };
        check(code)?;
        if key.is_null() {
            return Ok(pairs);
        }
        // SAFETY: both belong to the iterator, have these lengths, and are copied before it goes on.
        pairs.push(unsafe { (copy(key, key_length), copy(value, value_length)) });
    }
}

/// A listing under way.
pub(super) struct Listing<'a> {
    io: &'a IoContext<'a>,
    raw: RawListing,
}

/// An object as a listing names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its namespace; empty for the default one.
    pub(super) namespace: Vec<u8>,
    /// Its name.
    pub(super) name: Vec<u8>,
    /// What it is placed by instead of its name; mostly empty.
    pub(super) locator: Vec<u8>,
}

impl Listing<'_> {
    /// The next object. The end is an error too: `ENOENT`, and no other is it.
    pub(super) fn next(&mut self) -> Result<Entry, i32> {
        let (mut name, mut locator, mut namespace) = (ptr::null(), ptr::null(), ptr::null());
        let (mut name_length, mut locator_length, mut namespace_length) = (0, 0, 0);
        // SAFETY: the listing is open and the places are valid.
        let code = unsafe {
            (self.io.objects.list_next2)(
                self.raw,
                &raw mut name,
                &raw mut locator,
                &raw mut namespace,
                &raw mut name_length,
                &raw mut locator_length,
                &raw mut namespace_length,
            )
        };
        check(code)?;
        // SAFETY: these belong to the listing, have these lengths, and are copied before it goes on.
        unsafe {
            Ok(Entry {
                namespace: copy(namespace, namespace_length),
                name: copy(name, name_length),
                locator: copy(locator, locator_length),
            })
        }
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        // SAFETY: opened by librados and closed once.
        unsafe { (self.io.objects.list_close)(self.raw) };
    }
}

/// Copies what librados keeps.
///
/// # Safety
/// `bytes` is null, or can be read for `length` bytes.
unsafe fn copy(bytes: *const c_char, length: usize) -> Vec<u8> {
    if bytes.is_null() {
        return Vec::new();
    }
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) }.to_vec()
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
