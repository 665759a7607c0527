//! What becomes of which element (PS3.15 table E.1-1): those of the basic profile, and which option keeps or cleans them. The
//! table is that of edition 2024d, whole, with the rows that edition 2026c adds to the basic profile; those are kept by no option
//! but that of dates. Curves, overlays and private elements, which the table names by their groups, are in [`super`].
//!
//! Where the table leaves it to the type of an element in its class, the value that is right for each type is taken: a dummy
//! for types 1 to 3, nothing for types 2 and 3.

use std::collections::HashMap;
use std::sync::LazyLock;

use dicom_core::Tag;

use super::Keep;

/// What the basic profile does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// X: taken out.
    Gone,
    /// Z: emptied.
    Empty,
    /// D: another value, which tells nothing.
    Dummy,
    /// U: another UID, the same at each place.
    Uid,
}

/// Elements that are treated alike.
pub(super) struct Group {
    pub(super) does: Does,
    /// The options that keep them.
    pub(super) kept: &'static [Keep],
    /// The options that keep what tells nobody in them.
    pub(super) cleaned: &'static [Keep],
    tags: &'static [u32],
}

/// The group of an element; none: the profile does not name it.
pub(super) fn of(tag: Tag) -> Option<&'static Group> {
    static BY_TAG: LazyLock<HashMap<u32, &Group>> = LazyLock::new(|| {
        let each = |group: &'static Group| group.tags.iter().map(move |tag| (*tag, group));
        GROUPS.iter().flat_map(each).collect()
    });
    BY_TAG.get(&(u32::from(tag.0) << 16 | u32::from(tag.1))).copied()
}

/// All elements that it names.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = Tag> {
    let tags = GROUPS.iter().flat_map(|group| group.tags);
    tags.map(|tag| Tag((tag >> 16) as u16, (tag & 0xFFFF) as u16))
}

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    Group { does: Does::Dummy, kept: &[], cleaned: &[], tags: &[
        0x0008_1070, 0x0008_1072, 0x0010_0020, 0x0012_0010, 0x0012_0020, 0x0012_0040, 0x0012_0042, 0x0034_0001,
        0x0034_0002, 0x0034_0005, 0x0040_0512, 0x0040_0551, 0x0040_1101, 0x0040_A027, 0x0040_A073, 0x0040_A075,
        0x0040_A123, 0x0040_B020, 0x0042_0011, 0x0070_0084, 0x0072_0065, 0x0072_006A, 0x0072_006D, 0x0072_0071,
        0x0400_0115,
    ] },
    Group { does: Does::Dummy, kept: &[], cleaned: &[Keep::Graphics], tags: &[
        0x0070_0001, 0x0070_0006,
    ] },
    Group { does: Does::Dummy, kept: &[], cleaned: &[Keep::Descriptors], tags: &[
        0x0018_0010, 0x0018_1030, 0x0018_11BB, 0x0018_1400, 0x006A_0005, 0x0072_0066, 0x0072_0068, 0x0072_006C,
        0x0072_006E, 0x0072_0070, 0x0400_0565, 0x3006_0002, 0x300A_0002, 0x300A_0608, 0x300A_0619, 0x300A_0623,
        0x300A_062A, 0x300A_067C, 0x300A_0734, 0x300A_0742, 0x300A_0783, 0x3010_0033, 0x3010_0034, 0x3010_0035,
        0x3010_0038, 0x3010_0054, 0x3010_0056, 0x3010_0077,
    ] },
    Group { does: Does::Dummy, kept: &[], cleaned: &[Keep::Device], tags: &[
        0x0072_005E, 0x2100_0140,
    ] },
    Group { does: Does::Dummy, kept: &[], cleaned: &[Keep::Structured], tags: &[
        0x0040_A730,
    ] },
    Group { does: Does::Dummy, kept: &[Keep::Dates], cleaned: &[], tags: &[
        0x0008_0012, 0x0008_0013, 0x0008_0021, 0x0008_0023, 0x0008_002A, 0x0008_0031, 0x0008_0033, 0x0008_0106,
        0x0008_0107, 0x0018_9074, 0x0018_9151, 0x0018_9369, 0x0018_936A, 0x0018_9516, 0x0018_9517, 0x0018_9623,
        0x0018_9701, 0x0018_9804, 0x0018_9919, 0x0034_0007, 0x003A_0314, 0x0040_A030, 0x0040_A032, 0x0040_A120,
        0x0040_A121, 0x0040_A122, 0x0040_A13A, 0x0044_0104, 0x0068_6226, 0x0068_6270, 0x0072_000A, 0x0072_0061,
        0x0072_0063, 0x0072_006B, 0x0400_0105, 0x0400_0562, 0x3008_0024, 0x3008_0025, 0x3008_0054, 0x3008_0056,
        0x3008_0162, 0x3008_0164, 0x3008_0166, 0x3008_0168, 0x3008_0250, 0x3008_0251, 0x300A_0006, 0x300A_0007,
        0x300A_022C, 0x300A_022E, 0x300A_0736, 0x300A_073A, 0x300A_0741, 0x300A_0760, 0x3010_004C, 0x3010_004D,
    ] },
    Group { does: Does::Dummy, kept: &[Keep::Device], cleaned: &[], tags: &[
        0x0008_1010, 0x0018_1000, 0x0018_700A, 0x0018_9367, 0x0018_9371, 0x0400_0563, 0x3010_002D,
    ] },
    Group { does: Does::Dummy, kept: &[Keep::Device, Keep::Dates], cleaned: &[], tags: &[
        0x0018_700C, 0x0018_700E, 0x300C_0127,
    ] },
    Group { does: Does::Dummy, kept: &[Keep::Institution], cleaned: &[], tags: &[
        0x0008_0080, 0x0008_0082, 0x0012_0081,
    ] },
    Group { does: Does::Dummy, kept: &[Keep::Patient], cleaned: &[], tags: &[
        0x0072_005F,
    ] },
    Group { does: Does::Dummy, kept: &[Keep::Uids], cleaned: &[], tags: &[
        0x0008_1111, 0x006A_0003,
    ] },
    Group { does: Does::Uid, kept: &[], cleaned: &[], tags: &[
        0x0040_A124, 0x0400_0100,
    ] },
    Group { does: Does::Uid, kept: &[Keep::Uids], cleaned: &[], tags: &[
        0x0000_1001, 0x0002_0003, 0x0004_1511, 0x0008_0014, 0x0008_0017, 0x0008_0018, 0x0008_0019, 0x0008_0058,
        0x0008_1140, 0x0008_1155, 0x0008_1195, 0x0008_2112, 0x0008_3010, 0x0018_2042, 0x0020_000D, 0x0020_000E,
        0x0020_0052, 0x0020_0200, 0x0020_9161, 0x0020_9164, 0x0028_1199, 0x0028_1214, 0x003A_0310, 0x0040_0554,
        0x0040_4023, 0x0040_A171, 0x0040_A172, 0x0040_A402, 0x0040_DB0C, 0x0040_DB0D, 0x0062_0021, 0x0064_0003,
        0x0070_031A, 0x0070_1101, 0x0070_1102, 0x0088_0140, 0x3006_0024, 0x3006_00C2, 0x300A_0013, 0x300A_0054,
        0x300A_0083, 0x300A_0609, 0x300A_0650, 0x300A_0700, 0x300A_0785, 0x3010_0006, 0x3010_000B, 0x3010_0013,
        0x3010_0015, 0x3010_0031, 0x3010_003B, 0x3010_006E, 0x3010_006F,
    ] },
    Group { does: Does::Uid, kept: &[Keep::Uids, Keep::Device], cleaned: &[], tags: &[
        0x0018_1002, 0x0018_100B,
    ] },
    Group { does: Does::Gone, kept: &[], cleaned: &[], tags: &[
        0x0008_0092, 0x0008_0094, 0x0008_0096, 0x0008_009D, 0x0008_1048, 0x0008_1049, 0x0008_1050, 0x0008_1052,
        0x0008_1060, 0x0008_1062, 0x0008_1301, 0x0008_1302, 0x0008_1303, 0x0008_1304, 0x0010_0011, 0x0010_0012,
        0x0010_0013, 0x0010_0014, 0x0010_0015, 0x0010_0016, 0x0010_0021, 0x0010_0032, 0x0010_0041, 0x0010_0042,
        0x0010_0043, 0x0010_0044, 0x0010_0045, 0x0010_0046, 0x0010_0047, 0x0010_0050, 0x0010_0101, 0x0010_0102,
        0x0010_1000, 0x0010_1001, 0x0010_1002, 0x0010_1005, 0x0010_1040, 0x0010_1050, 0x0010_1060, 0x0010_1080,
        0x0010_1081, 0x0010_1090, 0x0010_1100, 0x0010_2150, 0x0010_2152, 0x0010_2154, 0x0010_2155, 0x0010_2162,
        0x0010_21F0, 0x0010_2297, 0x0010_2299, 0x0012_0022, 0x0012_0023, 0x0012_0032, 0x0012_0041, 0x0012_0043,
        0x0012_0055, 0x0012_0071, 0x0012_0073, 0x0012_0082, 0x0016_004D, 0x0016_0070, 0x0016_0071, 0x0016_0072,
        0x0016_0073, 0x0016_0074, 0x0016_0075, 0x0016_0076, 0x0016_0077, 0x0016_0078, 0x0016_0079, 0x0016_007A,
        0x0016_007B, 0x0016_007C, 0x0016_007D, 0x0016_007E, 0x0016_007F, 0x0016_0080, 0x0016_0081, 0x0016_0082,
        0x0016_0083, 0x0016_0084, 0x0016_0085, 0x0016_0086, 0x0016_0087, 0x0016_0088, 0x0016_0089, 0x0016_008A,
        0x0016_008B, 0x0016_008C, 0x0016_008E, 0x0018_1010, 0x0018_1011, 0x0020_3406, 0x0028_4000, 0x0032_0012,
        0x0032_1032, 0x0032_1033, 0x0038_0004, 0x0038_0010, 0x0038_0011, 0x0038_0014, 0x0038_001E, 0x0038_0060,
        0x0038_0061, 0x0038_0064, 0x0038_0300, 0x0038_0400, 0x003A_0020, 0x003A_0203, 0x003A_020C, 0x0040_0006,
        0x0040_0009, 0x0040_000B, 0x0040_0243, 0x0040_0253, 0x0040_050A, 0x0040_0556, 0x0040_06FA, 0x0040_1001,
        0x0040_1004, 0x0040_1005, 0x0040_1010, 0x0040_1011, 0x0040_1102, 0x0040_1103, 0x0040_1104, 0x0040_2008,
        0x0040_2009, 0x0040_2010, 0x0040_2011, 0x0040_3001, 0x0040_4034, 0x0040_4035, 0x0040_4036, 0x0040_4037,
        0x0040_A078, 0x0040_A07A, 0x0040_A07C, 0x0040_A307, 0x0040_A352, 0x0040_A353, 0x0040_A354, 0x0040_A358,
        0x0040_B03B, 0x0040_B03F, 0x0040_E012, 0x0050_001B, 0x0070_0086, 0x0088_0200, 0x0088_0904, 0x0088_0906,
        0x0088_0910, 0x0088_0912, 0x0400_0402, 0x0400_0403, 0x0400_0404, 0x0400_0550, 0x0400_0551, 0x0400_0552,
        0x0400_0561, 0x0400_0600, 0x2030_0020, 0x3006_004D, 0x3006_004E, 0x4000_0010, 0x4000_4000, 0x4008_0040,
        0x4008_0042, 0x4008_0102, 0x4008_010A, 0x4008_010C, 0x4008_0111, 0x4008_0114, 0x4008_0118, 0x4008_0119,
        0x4008_011A, 0x4008_0200, 0x4008_0202, 0xFFFA_FFFA, 0xFFFC_FFFC,
    ] },
    Group { does: Does::Gone, kept: &[], cleaned: &[Keep::Descriptors], tags: &[
        0x0008_1030, 0x0008_103E, 0x0008_1080, 0x0008_1084, 0x0008_1088, 0x0008_2111, 0x0008_4000, 0x0010_2000,
        0x0010_2180, 0x0010_21B0, 0x0010_4000, 0x0012_0051, 0x0012_0072, 0x0016_002B, 0x0016_004B, 0x0018_4000,
        0x0018_9185, 0x0018_937B, 0x0018_937F, 0x0018_9424, 0x0018_9937, 0x0018_A003, 0x0020_0027, 0x0020_4000,
        0x0020_9158, 0x0032_1030, 0x0032_1066, 0x0032_1067, 0x0032_1070, 0x0032_4000, 0x0038_0040, 0x0038_0062,
        0x0038_4000, 0x003A_0329, 0x003A_032B, 0x0040_0007, 0x0040_0254, 0x0040_0275, 0x0040_0280, 0x0040_0310,
        0x0040_051A, 0x0040_0600, 0x0040_0602, 0x0040_1002, 0x0040_100A, 0x0040_1400, 0x0040_2001, 0x0040_2400,
        0x0050_0021, 0x006A_0006, 0x3002_0121, 0x3002_0123, 0x3006_0004, 0x3006_0006, 0x3006_0028, 0x3006_0038,
        0x3006_0085, 0x3006_0088, 0x300A_0003, 0x300A_0004, 0x300A_000B, 0x300A_000E, 0x300A_0016, 0x300A_0072,
        0x300A_00C3, 0x300A_00DD, 0x300A_0196, 0x300A_01A6, 0x300A_01B2, 0x300A_02EB, 0x300A_0676, 0x300A_078E,
        0x300A_0792, 0x300A_0794, 0x300A_079A, 0x300C_0113, 0x3010_0036, 0x3010_0037, 0x3010_0061, 0x4008_010B,
        0x4008_0115, 0x4008_0300, 0x4008_4000,
    ] },
    Group { does: Does::Gone, kept: &[], cleaned: &[Keep::Device], tags: &[
        0x0008_0054, 0x0008_0055, 0x0008_1000, 0x0032_1021, 0x0040_0001, 0x0040_0241, 0x0074_1234, 0x0074_1236,
        0x2100_0070,
    ] },
    Group { does: Does::Gone, kept: &[], cleaned: &[Keep::Patient], tags: &[
        0x0038_0050, 0x0040_0012,
    ] },
    Group { does: Does::Gone, kept: &[], cleaned: &[Keep::Patient, Keep::Descriptors], tags: &[
        0x0010_2110, 0x0038_0500,
    ] },
    Group { does: Does::Gone, kept: &[Keep::Dates], cleaned: &[], tags: &[
        0x0008_0015, 0x0008_0024, 0x0008_0025, 0x0008_0034, 0x0008_0035, 0x0008_0201, 0x0010_21D0, 0x0012_0086,
        0x0012_0087, 0x0016_008D, 0x0018_0027, 0x0018_0035, 0x0018_1012, 0x0018_1014, 0x0018_1042, 0x0018_1043,
        0x0018_1072, 0x0018_1073, 0x0018_1078, 0x0018_1079, 0x0018_A002, 0x0020_3403, 0x0020_3405, 0x0032_0032,
        0x0032_0033, 0x0032_0034, 0x0032_0035, 0x0032_1000, 0x0032_1001, 0x0032_1010, 0x0032_1011, 0x0032_1040,
        0x0032_1041, 0x0032_1050, 0x0032_1051, 0x0038_001A, 0x0038_001B, 0x0038_001C, 0x0038_001D, 0x0038_0020,
        0x0038_0021, 0x0038_0030, 0x0038_0032, 0x0040_0002, 0x0040_0003, 0x0040_0004, 0x0040_0005, 0x0040_0244,
        0x0040_0245, 0x0040_0250, 0x0040_0251, 0x0040_2004, 0x0040_2005, 0x0040_4005, 0x0040_4008, 0x0040_4010,
        0x0040_4011, 0x0040_4050, 0x0040_4051, 0x0040_4052, 0x0040_A023, 0x0040_A024, 0x0040_A033, 0x0040_A034,
        0x0040_A035, 0x0040_A110, 0x0040_A112, 0x0040_A192, 0x0040_A193, 0x0040_B034, 0x0040_B036, 0x0040_DB06,
        0x0040_DB07, 0x0040_E004, 0x0044_0004, 0x0044_000B, 0x0044_0010, 0x0044_0105, 0x0070_0082, 0x0070_0083,
        0x0100_0420, 0x0400_0310, 0x2100_0040, 0x2100_0050, 0x3006_002D, 0x3006_002E, 0x3010_0085, 0x4008_0100,
        0x4008_0101, 0x4008_0108, 0x4008_0109, 0x4008_0112, 0x4008_0113,
    ] },
    Group { does: Does::Gone, kept: &[Keep::Device], cleaned: &[], tags: &[
        0x0016_004E, 0x0016_004F, 0x0016_0050, 0x0016_0051, 0x0018_1004, 0x0018_1005, 0x0018_1007, 0x0018_1008,
        0x0018_1009, 0x0018_100A, 0x0018_5011, 0x0018_9373, 0x0020_3401, 0x0032_1020, 0x0040_0010, 0x0040_0011,
        0x0040_0242, 0x0040_4025, 0x0040_4027, 0x0040_4028, 0x0040_4030, 0x0050_0020, 0x300A_0216,
    ] },
    Group { does: Does::Gone, kept: &[Keep::Device, Keep::Dates], cleaned: &[], tags: &[
        0x0014_407C, 0x0014_407E, 0x0018_1200, 0x0018_1201, 0x0018_1202, 0x0018_1204, 0x0018_1205,
    ] },
    Group { does: Does::Gone, kept: &[Keep::Institution], cleaned: &[], tags: &[
        0x0008_0081, 0x0008_1040, 0x0008_1041,
    ] },
    Group { does: Does::Gone, kept: &[Keep::Patient], cleaned: &[], tags: &[
        0x0010_1010, 0x0010_1020, 0x0010_1030, 0x0010_2160, 0x0010_2161, 0x0010_21A0, 0x0010_21C0,
    ] },
    Group { does: Does::Gone, kept: &[Keep::Uids], cleaned: &[], tags: &[
        0x0000_1000, 0x0008_1120,
    ] },
    Group { does: Does::Empty, kept: &[], cleaned: &[], tags: &[
        0x0008_0050, 0x0008_0090, 0x0008_009C, 0x0010_0010, 0x0010_0030, 0x0012_0021, 0x0012_0050, 0x0020_0010,
        0x0040_0513, 0x0040_0562, 0x0040_2016, 0x0040_2017, 0x0040_A088, 0x2200_0005, 0x3006_00A6, 0x300A_0611,
        0x300A_0615, 0x300E_0008, 0x3010_001B,
    ] },
    Group { does: Does::Empty, kept: &[], cleaned: &[Keep::Descriptors], tags: &[
        0x0032_1060, 0x2200_0002, 0x3006_0026, 0x300A_067D, 0x3010_000F, 0x3010_0017, 0x3010_005A, 0x3010_005C,
        0x3010_007A, 0x3010_007B, 0x3010_007F, 0x3010_0081,
    ] },
    Group { does: Does::Empty, kept: &[], cleaned: &[Keep::Structured], tags: &[
        0x0040_0555, 0x0040_0610,
    ] },
    Group { does: Does::Empty, kept: &[Keep::Dates], cleaned: &[], tags: &[
        0x0008_0020, 0x0008_0022, 0x0008_0030, 0x0008_0032, 0x0040_A082, 0x3006_0008, 0x3006_0009, 0x300E_0004,
        0x300E_0005,
    ] },
    Group { does: Does::Empty, kept: &[Keep::Device], cleaned: &[], tags: &[
        0x3008_0105, 0x300A_00B2, 0x3010_0043,
    ] },
    Group { does: Does::Empty, kept: &[Keep::Device, Keep::Dates], cleaned: &[], tags: &[
        0x0018_1203,
    ] },
    Group { does: Does::Empty, kept: &[Keep::Institution], cleaned: &[], tags: &[
        0x0012_0030, 0x0012_0031, 0x0012_0060, 0x0400_0564,
    ] },
    Group { does: Does::Empty, kept: &[Keep::Patient], cleaned: &[], tags: &[
        0x0010_0040, 0x0010_2203,
    ] },
    Group { does: Does::Empty, kept: &[Keep::Uids], cleaned: &[], tags: &[
        0x0008_1110,
    ] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_has_one_rule() {
        let all: usize = GROUPS.iter().map(|group| group.tags.len()).sum();
        assert_eq!(all, 652);
        let mut tags: Vec<u32> = GROUPS.iter().flat_map(|group| group.tags).copied().collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), all, "none stands twice");
        // A few, as the table has them.
        let does = |group, element| of(Tag(group, element)).map(|group| group.does);
        assert_eq!(does(0x0010, 0x0010), Some(Does::Empty));
        assert_eq!(does(0x0008, 0x0018), Some(Does::Uid));
        assert_eq!(does(0x0018, 0x1009), Some(Does::Gone));
        assert_eq!(does(0x0040, 0xA730), Some(Does::Dummy));
        assert_eq!(does(0x0028, 0x0010), None);
    }
}
