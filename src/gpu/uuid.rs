//! The UUID of a Vulkan device, which wgpu does not report.

use ash::vk;
use wgpu::{Adapter, hal::api::Vulkan};

/// The device's UUID; `None` on other backends, and with Vulkan 1.0.
pub(super) fn of(adapter: &Adapter) -> Option<[u8; 16]> {
    // SAFETY: the handles are only read, and not kept beyond this function.
    let adapter = unsafe { adapter.as_hal::<Vulkan>() }?;
    let instance = adapter.shared_instance();
    let version = adapter.physical_device_capabilities().properties().api_version;
    if instance.instance_api_version().min(version) < vk::API_VERSION_1_1 {
        return None;
    }
    let mut id = vk::PhysicalDeviceIDProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut id);
    // SAFETY: the device is of this instance, and both have the function, which is of Vulkan 1.1.
    unsafe { instance.raw_instance().get_physical_device_properties2(adapter.raw_physical_device(), &mut properties) };
    Some(id.device_uuid)
}

/// The usual form of a UUID.
pub(super) fn text(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_uuid_is_written_in_groups() {
        let uuid = std::array::from_fn(|i| 0x11 * i as u8);
        assert_eq!(super::text(uuid), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
