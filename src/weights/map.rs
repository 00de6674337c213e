//! Weight files in memory: memory-mapped where they are large and on a local disk, copied otherwise.
//!
//! A mapped file takes no memory until its numbers are read, and [`release`] frees their pages again. But a mapped file that
//! shrinks ends the process, so only large files are mapped.

use std::path::Path;
#[cfg(not(target_arch = "wasm32"))]
use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;

use super::WeightsError;

/// A memory-mapped file.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type Map = Option<Arc<memmap2::Mmap>>;
/// A placeholder: a browser has no files.
#[cfg(target_arch = "wasm32")]
pub(crate) type Map = Option<std::convert::Infallible>;

/// The size in bytes up to which a file is copied, wherever it is stored.
#[cfg(not(target_arch = "wasm32"))]
const SMALL: u64 = 8 << 20;
/// The size in bytes up to which a file on another machine is copied. A larger one is no AlexNet (250 MB), and copying it
/// could take all memory.
#[cfg(not(target_arch = "wasm32"))]
const COPIED_FROM_AFAR: u64 = 2 << 30;

/// The bytes of a file, and its map where it is mapped.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn map(path: &Path) -> Result<(Bytes, Map), WeightsError> {
    struct Mapped(Arc<memmap2::Mmap>);
    impl AsRef<[u8]> for Mapped {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let fail = |source| WeightsError::Read { path: path.into(), source };
    let regular = |metadata: Metadata| {
        let error =
            || io::Error::other("not a regular file, and only such can be mapped into memory: copy it into one");
        if metadata.is_file() { Ok(metadata) } else { Err(fail(error())) }
    };
    // Checked first, since opening a pipe waits for a writer.
    regular(fs::metadata(path).map_err(fail)?)?;
    let file = File::open(path).map_err(fail)?;
    let length = regular(file.metadata().map_err(fail)?)?.len();
    if length <= SMALL || length <= COPIED_FROM_AFAR && is_afar(&file) {
        return copy(file, length).map(|bytes| (bytes, None)).map_err(fail);
    }
    // SAFETY: the map is only read, and lives as long as the tensors that point into it. That no other program may change the
    // file meanwhile is the documented condition of `Weights::open`.
    let map = Arc::new(unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?);
    Ok((Bytes::from_owner(Mapped(map.clone())), Some(map)))
}

/// A placeholder: a browser has no files.
#[cfg(target_arch = "wasm32")]
pub(crate) fn map(path: &Path) -> Result<(Bytes, Map), WeightsError> {
    Err(WeightsError::Read { path: path.into(), source: std::io::ErrorKind::Unsupported.into() })
}

/// The first `length` bytes of a file; fewer where the file has shrunk.
#[cfg(not(target_arch = "wasm32"))]
fn copy(file: File, length: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX)).map_err(io::Error::other)?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Whether a file is on another machine or in a file system run by a program: there, files can shrink or vanish without any
/// local cause.
#[cfg(target_os = "linux")]
fn is_afar(file: &File) -> bool {
    // From linux/magic.h; for file systems outside Linux's own tree, from GNU `stat`.
    const MAGIC: [u32; 19] = [
        0x0000_6969, // NFS
        0x0000_517B, // SMB
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB 2
        0x6573_5546, // FUSE, virtiofs
        0x0102_1997, // 9P
        0x5346_414F, // AFS
        0x6B41_4653, // AFS, Linux's own
        0x00C3_6400, // Ceph
        0x7375_7245, // Coda
        0x0000_564C, // NetWare
        0x7461_636F, // OCFS2
        0x0116_1970, // GFS2
        0x0BD0_0BD0, // Lustre
        0x4750_4653, // GPFS
        0xAAD7_AAEA, // PanFS
        0x786F_4256, // VirtualBox's shared folders
        0xBACB_ACBC, // VMware's
        0x6163_6673, // AcFS
    ];
    // The kernel's numbers have 32 bits; the types of some architectures sign-extend them.
    rustix::fs::fstatfs(file).is_ok_and(|found| MAGIC.contains(&(found.f_type as u32)))
}

#[cfg(not(any(target_os = "linux", target_arch = "wasm32")))]
fn is_afar(_: &File) -> bool {
    false
}

/// The most bytes that an operating system maps around a page that is read: Linux maps 16 pages, or 2 MB where its page cache
/// holds the file in pieces of that size.
#[cfg(unix)]
const MAPPED_AROUND: usize = 2 << 20;

/// Releases the memory of `bytes` where they are in the map. They are read from the file again when needed.
#[cfg(unix)]
pub(crate) fn release(map: &memmap2::Mmap, bytes: &[u8]) {
    let Some(start) = (bytes.as_ptr() as usize).checked_sub(map.as_ptr() as usize) else { return };
    // And the bytes before: reading these bytes brought some of those back, where they had been released.
    let around = start.min(MAPPED_AROUND);
    let (start, len) = (start - around, bytes.len() + around);
    if start + len <= map.len() {
        // SAFETY: the map is of a file and never written to, so that what is dropped is in the file still.
        let done = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
        done.unwrap_or_else(|error| log::debug!("memory of a mapped file stays: {error}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::io::Write;

    use super::*;

    fn file(length: u64) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"beginning").unwrap();
        file.as_file().set_len(length).unwrap();
        file
    }

    /// A file that is copied may be truncated or deleted.
    #[test]
    fn small_files_are_copied() {
        for length in [9, SMALL] {
            let file = file(length);
            let (bytes, map) = map(file.path()).unwrap();
            file.as_file().set_len(0).unwrap();
            assert!(map.is_none() && bytes.len() as u64 == length && bytes.starts_with(b"beginning"), "{length}");
            assert!(bytes[9..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn large_files_of_this_machine_are_mapped() {
        let file = file(SMALL + 1);
        let (bytes, map) = map(file.path()).unwrap();
        assert_eq!(map.is_none(), is_afar(file.as_file()));
        assert!(bytes.len() as u64 == SMALL + 1 && bytes.starts_with(b"beginning"));
    }

    /// Released bytes are in the file still, and bytes outside the map are left alone.
    #[cfg(unix)]
    #[test]
    fn released_bytes_are_read_again() {
        let numbers: Vec<u8> = (0..=SMALL).map(|i| (i % 251) as u8).collect();
        let file = file(9);
        std::fs::write(file.path(), &numbers).unwrap();
        let (bytes, map) = map(file.path()).unwrap();
        let Some(map) = map else { return println!("temporary files are on another machine here") };
        for part in [0..100, 5_000_000..6_000_000, 0..numbers.len()] {
            release(&map, &bytes[part]);
            assert!(bytes == numbers);
        }
        release(&map, &numbers);
        release(&map, &[]);
        assert!(bytes == numbers);
    }

    /// A file truncated while it is read gives its beginning; the reader of its format reports the rest as missing.
    #[test]
    fn a_copy_ends_where_the_file_does() {
        let file = file(100);
        assert_eq!(copy(file.reopen().unwrap(), 200).unwrap().len(), 100);
        // No memory is allocated for the size that a file system claims.
        copy(file.reopen().unwrap(), u64::MAX).unwrap_err();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn file_systems_of_this_machine_are_not_afar() {
        // proc is local on every machine, wherever the tests' own files are.
        assert!(!is_afar(&File::open("/proc/self/status").unwrap()));
    }
}
