//! A laboratory system looks patients up over MLLP, with the client of another house.

use anyhow::{Context, Result};
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use serde_json::{Value, json};

use crate::{python, scenes};

const LOOKUPS: &str = "id = \"lookups\"\ndescription = \"The LIS asks who is who\"\n[source]\nquestions = \"clinic\"\nmllp.listen = \"127.0.0.1:0\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_lis_looks_patients_up() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only()), ("lookups", LOOKUPS)])?;
    let punte = home.serve()?;
    let mut feed = Sender::connect(punte.listens("clinic")).await?;
    for (id, chart, family) in [("1", "P-1", "Țîru"), ("2", "P-2", "Tirea"), ("3", "P-3", "Pop")] {
        let answer = feed.ask(scenes::register(id, chart, family).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
    }
    let merge = format!(
        "{}EVN|A40|20260505083000\rPID|1||P-3^^^TEST^MR||Pop^Ana\rMRG|P-2^^^TEST^MR\r",
        scenes::msh("ADT^A40^ADT_A39", "4")
    );

    let questions = [
        "@PID.3.1^P-1",
        "@PID.3.1^P-1~@PID.3.4^TEST",
        "@PID.3.1^P-1~@PID.3.4^ELSE",
        "@PID.5.1^tir*~@PID.7^19800514",
        "@PID.5.1^tir*~@PID.7^19800515",
        "@PID.5.1^tir~@PID.5.2^ana 1",
        "@PID.7^19800514",
        "@PID.5.1^pop~@PID.11.3^Cluj",
        "@PID.5.1^pop~@PID.7^yesterday",
    ];
    let address = punte.listens("lookups");
    let args = [address.ip().to_string(), address.port().to_string()];
    let ask = |questions: &[&str]| -> Result<Vec<Value>> {
        let output = python::run("ask_patients.py", &args, &questions.join("\n"))?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let answers = ask(&questions)?;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer["type"], "RSP^K22^RSP_K21");
        assert_eq!(answer["control_id"], format!("Q{number}"));
        assert_eq!(answer["tag"], format!("TAG-{number}"));
    }
    let told = |number: usize| {
        (
            &answers[number]["code"],
            &answers[number]["status"],
            &answers[number]["patients"],
        )
    };
    let tiru = "P-1^^^TEST^MR Țîru^Ana^^^^^L 19800514";
    let tirea = "P-2^^^TEST^MR Tirea^Ana^^^^^L 19800514";
    assert_eq!(told(0), (&json!("AA"), &json!("OK"), &json!([tiru])));
    assert_eq!(told(1), (&json!("AA"), &json!("OK"), &json!([tiru])));
    assert_eq!(told(2), (&json!("AA"), &json!("NF"), &json!([])));
    assert_eq!(told(3), (&json!("AA"), &json!("OK"), &json!([tiru, tirea])));
    assert_eq!(told(4), (&json!("AA"), &json!("NF"), &json!([])));
    assert_eq!(
        answers[5]["hits"],
        json!(["2", "1", "1"]),
        "RCP-2 says how many are told"
    );
    assert_eq!(answers[5]["patients"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        answers[3]["asked"], questions[3],
        "the question stands in its answer"
    );
    for number in [6, 7, 8] {
        assert_eq!(
            told(number),
            (&json!("AE"), &json!("AE"), &json!([])),
            "{}",
            questions[number]
        );
        let why = answers[number]["errors"][0].as_str().context("a reason")?;
        assert!(why.contains("QPD-3"), "{why}");
    }

    // Who was merged into another one is nobody's answer.
    assert_eq!(field(&feed.ask(merge.as_bytes()).await?, "MSA", 1), "AA");
    let again = ask(&["@PID.5.1^tirea", "@PID.3.1^P-2"])?;
    assert_eq!(again[0]["status"], "NF");
    assert_eq!(
        again[1]["patients"].as_array().map(Vec::len),
        Some(1),
        "the survivor has the number"
    );

    // Each question is recorded, with what it came to; a question of another kind is rejected.
    let mut lis = Sender::connect(address).await?;
    let other = format!(
        "{}QPD|Q23^Ids|T|P-1\rRCP|I\r",
        scenes::msh("QBP^Q23^QBP_Q21", "X")
    );
    let answer = lis.ask(other.as_bytes()).await?;
    assert_eq!(
        (field(&answer, "MSA", 1), field(&answer, "QAK", 2)),
        ("AR".to_owned(), "AR".to_owned())
    );
    let messages = punte.messages("&channel=lookups").await?;
    let count = |state: &str| {
        messages
            .iter()
            .filter(|message| message["state"] == state)
            .count()
    };
    assert_eq!((count("answered"), count("failed")), (8, 4));

    // What is no question is a message like the others.
    let answer = lis.ask(scenes::register("M", "P-9", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA");
    assert_eq!(punte.messages("&channel=lookups&state=routed").await?.len(), 1);
    Ok(())
}
