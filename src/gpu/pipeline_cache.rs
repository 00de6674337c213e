//! A persistent pipeline cache: compiled pipelines in a file for the next start, where the backend supports it
//! (Vulkan).

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use wgpu::{AdapterInfo, Device, Features, PipelineCache, PipelineCacheDescriptor};

use crate::{files::write_atomically, gpu::error_scopes::Scopes};

/// The driver's pipeline cache, and the file that it is kept in.
#[derive(Debug)]
pub(crate) struct KeptPipelines {
    cache: PipelineCache,
    path: PathBuf,
    /// The contents of the file.
    stored: Mutex<Option<Vec<u8>>>,
}

impl KeptPipelines {
    /// Loads the cache in `folder` for this adapter and driver; none where the device does not support one.
    ///
    /// # Safety
    ///
    /// Drivers trust the file: nobody else may write to `folder`.
    pub unsafe fn open(device: &Device, info: &AdapterInfo, folder: &Path) -> Option<Self> {
        if !device.features().contains(Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(file_name(info)?);
        let stored = fs::read(&path).ok();
        let descriptor = PipelineCacheDescriptor { label: Some("kept"), data: stored.as_deref(), fallback: true };
        let scopes = Scopes::push(device);
        // SAFETY: the caller keeps others away from the folder, and `store` alone writes such files; of those, wgpu and the
        // driver refuse what another version or device made, which leaves the cache empty.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        if let Some(error) = scopes.pop_now() {
            log::warn!("the pipeline cache is off: {error}");
            return None;
        }
        Some(Self { cache, path, stored: Mutex::new(stored) })
    }

    /// The cache to make pipelines with.
    pub fn cache(&self) -> &PipelineCache {
        &self.cache
    }

    /// Writes the cache to the file if it has changed. A failure to write only costs time at the next start.
    pub fn store(&self) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(data) = self.cache.get_data().filter(|data| Some(data) != stored.as_ref()) else { return };
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        match made.and_then(|()| write_atomically(&self.path, |file| file.write_all(&data))) {
            Ok(()) => *stored = Some(data),
            Err(error) => log::warn!("the pipeline cache is off: {}: {error}", self.path.display()),
        }
    }
}

/// A file name per adapter and driver: versions of a driver do not read each other's caches.
fn file_name(info: &AdapterInfo) -> Option<String> {
    let key = wgpu::util::pipeline_cache_key(info)?;
    let version = info.driver_info.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    Some(format!("{key}_{version}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use crate::{Gpu, Model, Pipeline};

    fn build(folder: &std::path::Path) -> Option<Vec<u8>> {
        // SAFETY: the test's own folder.
        let gpu = unsafe { Gpu::for_tests().keep_pipelines(folder) };
        let model = Model::embedded().unwrap();
        let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).build().unwrap();
        let input = vec![0.5; model.network.input().len()];
        let top = pollster::block_on(pipeline.run_top(&input)).unwrap();
        assert_eq!(top[0].len(), 5);
        let mut files = std::fs::read_dir(folder).unwrap();
        let file = files.next().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        assert!(files.next().is_none());
        file
    }

    /// Whatever the file contains, the next start works and leaves a valid one.
    #[test]
    fn pipelines_are_kept_and_damage_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let Some(first) = build(folder.path()) else {
            // Only Vulkan keeps pipelines.
            assert_ne!(Gpu::for_tests().info().backend, wgpu::Backend::Vulkan);
            return;
        };
        assert!(first.starts_with(b"WGPUPLCH"));
        let second = build(folder.path()).unwrap();
        assert!(second.starts_with(b"WGPUPLCH"));
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        for damaged in [&first[..20], b"", b"something else altogether"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(build(folder.path()).unwrap().starts_with(b"WGPUPLCH"));
        }
    }
}
