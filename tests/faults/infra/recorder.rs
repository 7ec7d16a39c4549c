//! A layer below SQLite that writes down every write, truncation, sync and deletion of its files, in order, and that can run
//! out of room: what a disk would have seen comes out. (SQLite's manual, "The OS Interface or VFS".)

use rusqlite::ffi::{
    SQLITE_FULL, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find,
    sqlite3_vfs_register,
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_void},
    mem::size_of,
    path::{Path, PathBuf},
    ptr::null_mut,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Write {
        file: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: PathBuf,
        size: usize,
    },
    Sync {
        file: PathBuf,
    },
    Delete {
        file: PathBuf,
    },
    /// Not the disk's: somebody was told something.
    Told(usize),
}

/// By the folder whose files are recorded. Files elsewhere are none of the recorder's business: whoever looks at what a lost
/// disk has left writes there, too.
static FOLDERS: Mutex<BTreeMap<PathBuf, Folder>> = Mutex::new(BTreeMap::new());

struct Folder {
    steps: Vec<Step>,
    /// Bytes that may still be written, over all its files.
    room: i64,
}
fn folders() -> MutexGuard<'static, BTreeMap<PathBuf, Folder>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(file: &Path, step: Step) {
    if let Some(parent) = file.parent()
        && let Some(folder) = folders().get_mut(parent)
    {
        folder.steps.push(step);
    }
}

/// Whether so many bytes still find room; what does not has filled the folder.
fn has_room(file: &Path, bytes: i64) -> bool {
    let mut folders = folders();
    let Some(folder) = file.parent().and_then(|parent| folders.get_mut(parent)) else { return true };
    let has_room = bytes <= folder.room;
    folder.room = if has_room { folder.room - bytes } else { 0 };
    has_room
}

/// From now on every SQLite file of this process is written through the recorder, and what becomes of those in this folder
/// is recorded.
pub fn begin(folder: &Path) {
    folders().insert(folder.to_owned(), Folder { steps: Vec::new(), room: i64::MAX });
    static ONCE: Once = Once::new();
    // SAFETY: the copy of the system's layer lives for ever, and only its size, its name and two functions differ.
    ONCE.call_once(|| unsafe {
        let system = sqlite3_vfs_find(std::ptr::null());
        let recorder = Box::leak(Box::new(*system));
        recorder.zName = c"recorder".as_ptr();
        recorder.szOsFile = (size_of::<Recorded>() as c_int) + (*system).szOsFile;
        recorder.pAppData = system.cast();
        recorder.xOpen = Some(open);
        recorder.xDelete = Some(delete);
        assert_eq!(sqlite3_vfs_register(recorder, 1), SQLITE_OK);
    });
}

/// That somebody was told something which this file is to hold.
pub fn tell(file: &Path, number: usize) {
    note(file, Step::Told(number));
}

/// What was recorded in this folder; nothing more is.
pub fn recorded(folder: &Path) -> Vec<Step> {
    folders().remove(folder).map(|folder| folder.steps).unwrap_or_default()
}

pub fn leave_room_for(folder: &Path, bytes: i64) {
    if let Some(folder) = folders().get_mut(folder) {
        folder.room = bytes;
    }
}

/// An open file as SQLite sees it. The system's own follows in the same memory.
#[repr(C)]
struct Recorded {
    base: sqlite3_file,
    path: *mut PathBuf,
}

unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    unsafe { file.cast::<Recorded>().add(1).cast() }
}

unsafe fn methods(file: *mut sqlite3_file) -> &'static sqlite3_io_methods {
    unsafe { &*(*real(file)).pMethods }
}

unsafe fn path(file: *mut sqlite3_file) -> PathBuf {
    unsafe { (*(*file.cast::<Recorded>()).path).clone() }
}

unsafe fn named(name: *const c_char) -> PathBuf {
    if name.is_null() {
        return PathBuf::new();
    }
    PathBuf::from(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let system: *mut sqlite3_vfs = (*vfs).pAppData.cast();
        (*file).pMethods = std::ptr::null();
        let code = (*system).xOpen.unwrap()(system, name, real(file), flags, out);
        if code == SQLITE_OK {
            (*file.cast::<Recorded>()).path = Box::into_raw(Box::new(named(name)));
            (*file).pMethods = &METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    unsafe {
        let system: *mut sqlite3_vfs = (*vfs).pAppData.cast();
        let code = (*system).xDelete.unwrap()(system, name, sync);
        if code == SQLITE_OK {
            let file = named(name);
            note(&file.clone(), Step::Delete { file });
        }
        code
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let code = methods(file).xClose.unwrap()(real(file));
        let path = std::mem::replace(&mut (*file.cast::<Recorded>()).path, null_mut());
        drop(Box::from_raw(path));
        code
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, bytes: *const c_void, count: c_int, at: sqlite3_int64) -> c_int {
    unsafe {
        if !has_room(&path(file), count.into()) {
            return SQLITE_FULL;
        }
        let code = methods(file).xWrite.unwrap()(real(file), bytes, count, at);
        if code == SQLITE_OK {
            let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize).to_vec();
            note(&path(file), Step::Write { file: path(file), at: at as usize, bytes });
        }
        code
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    unsafe {
        let code = methods(file).xTruncate.unwrap()(real(file), size);
        if code == SQLITE_OK {
            note(&path(file), Step::Truncate { file: path(file), size: size as usize });
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        let code = methods(file).xSync.unwrap()(real(file), flags);
        if code == SQLITE_OK {
            note(&path(file), Step::Sync { file: path(file) });
        }
        code
    }
}

/// A method that only the system's layer has something to do with.
macro_rules! passed_on {
    ($($name:ident => $method:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        $(unsafe extern "C" fn $name(file: *mut sqlite3_file, $($argument: $kind),*) $(-> $result)? {
            unsafe { methods(file).$method.unwrap()(real(file), $($argument),*) }
        })*
    };
}

passed_on! {
    read => xRead(bytes: *mut c_void, count: c_int, at: sqlite3_int64) -> c_int;
    file_size => xFileSize(size: *mut sqlite3_int64) -> c_int;
    lock => xLock(level: c_int) -> c_int;
    unlock => xUnlock(level: c_int) -> c_int;
    check_reserved_lock => xCheckReservedLock(result: *mut c_int) -> c_int;
    file_control => xFileControl(operation: c_int, argument: *mut c_void) -> c_int;
    sector_size => xSectorSize() -> c_int;
    device_characteristics => xDeviceCharacteristics() -> c_int;
    shm_map => xShmMap(page: c_int, size: c_int, extend: c_int, memory: *mut *mut c_void) -> c_int;
    shm_lock => xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier => xShmBarrier();
    shm_unmap => xShmUnmap(delete: c_int) -> c_int;
}

/// Version 2: no memory mapping, past which nothing could be recorded.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
