//! The formats of this program, as the engine sees them. One visible list.

pub mod bytes;
pub mod clinic;
pub mod dicom;
pub mod document;
pub mod fhir;
pub mod hl7v2;
pub mod split;

use engine::format::Formats;

/// All formats.
pub fn all() -> Formats {
    Formats::default()
        .with(hl7v2::Hl7v2::default())
        .with(fhir::FhirR4)
        .with(document::Document::json())
        .with(document::Document::xml())
        .with(document::Document::csv())
        .with(dicom::Dicom::default())
        .with(clinic::Clinic)
        .with(bytes::Bytes)
        .with_splitter(split::Split)
}

#[cfg(test)]
mod tests {
    /// The schema that editors use is the one that `punte check` runs. `cargo xtask schemas` writes it.
    #[test]
    fn schemas_are_as_generated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/channel.schema.json");
        let schema = engine::channel::channel_schema(&super::all(), &connectors::all());
        let text = format!("{schema:#}\n");
        if std::env::var_os("PUNTE_WRITE_SCHEMAS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == text,
            "schemas/channel.schema.json is not as generated: cargo xtask schemas"
        );
    }

    /// Each channel that ships has golden tests that hold, and a page. A sample whose outcome nobody has agreed to yet is
    /// run and not compared; `PUNTE_BLESS=1` writes down what comes of all of them, as `punte test --bless` does.
    #[tokio::test]
    async fn shipped_channels_have_golden_tests_and_a_page() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../channels"));
        let files = engine::channel::read_folder(folder).unwrap();
        let checked = engine::channel::check(
            &files,
            &super::all(),
            &connectors::all(),
            &engine::channel::read_table,
            &AnyScript,
        );
        let (cases, wrong) = crate::golden::find(folder, &checked.channels, None);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let without = crate::golden::without_tests(&checked.channels, &cases);
        assert!(
            without.is_empty(),
            "no tests: {without:?}; punte test CHANNEL --add NAME FILE"
        );
        let manner = crate::golden::Manner {
            bless: std::env::var_os("PUNTE_BLESS").is_some(),
            ask: false,
        };
        for case in &cases {
            let channel = checked.channels.iter().find(|c| c.id == case.channel).unwrap();
            if channel.has_scripts() {
                // A test is not the program that workers are made of: `punte test` runs these end to end.
                continue;
            }
            let formats = super::all();
            let check = crate::golden::check(case, channel, &checked.channels, &formats, manner);
            let report = check.await.unwrap();
            let is_open = report.findings.iter().any(|finding| finding.file.is_empty());
            assert!(
                is_open || report.findings.is_empty(),
                "{report:#?}\nIs it meant? punte test --bless"
            );
        }
        for channel in &checked.channels {
            let page = folder.join(format!("../docs/channels/{}.md", channel.id));
            assert!(page.exists(), "{} has no page {}", channel.id, page.display());
        }
    }

    /// Takes any script: a test is not the program that workers are made of. The end-to-end tests check the scripts.
    struct AnyScript;

    impl engine::script::Scripts for AnyScript {
        fn check(
            &self,
            _: &engine::script::Wanted<'_>,
            _: &dyn Fn(&std::path::Path) -> std::io::Result<String>,
        ) -> Result<std::sync::Arc<dyn engine::script::Script>, Vec<engine::script::ScriptProblem>> {
            Ok(std::sync::Arc::new(AnyScript))
        }
    }

    impl std::fmt::Debug for AnyScript {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("any script")
        }
    }

    impl engine::script::Script for AnyScript {
        fn file(&self) -> &str {
            "any.js"
        }
        fn run(
            &self,
            _: &engine::script::Call<'_>,
        ) -> Result<engine::script::Returned, engine::script::ScriptFailed> {
            Ok(engine::script::Returned {
                said: engine::script::Said::Kept,
                changes: None,
                console: vec![],
                counted: Default::default(),
                cached: vec![],
            })
        }
    }

    /// The channels that ship are right.
    #[test]
    fn shipped_channels_are_right() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../channels");
        let files = engine::channel::read_folder(std::path::Path::new(folder)).unwrap();
        assert!(4 <= files.len());
        let checked = engine::channel::check(
            &files,
            &super::all(),
            &connectors::all(),
            &engine::channel::read_table,
            &AnyScript,
        );
        assert!(checked.problems.is_empty(), "{:#?}", checked.problems);
    }
}
