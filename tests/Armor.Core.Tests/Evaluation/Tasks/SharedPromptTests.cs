using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Tests.Evaluation.Tasks;

/// <summary>Prompts of real rows, written by hand from the harness's task definitions.</summary>
[Category("SharedData")]
public sealed class SharedPromptTests
{
    [Test]
    public void ArcChallenge() => Assert.That(Requests("arc_challenge")[3], Is.EqualTo(new ContinuationRequest(
        "Question: Juan and LaKeisha roll a few objects down a ramp. They want to see which object rolls the farthest. What should they do so they can repeat their investigation?\nAnswer:",
        " Record the details of the investigation.")));

    [Test]
    public void WinoGrande() => Assert.That(Requests("winogrande"), Is.EqualTo(new[]
    {
        new ContinuationRequest("Sarah was a much better surgeon than Maria so Sarah", " always got the easier cases."),
        new ContinuationRequest("Sarah was a much better surgeon than Maria so Maria", " always got the easier cases."),
    }));

    [Test]
    public void Lambada() => Assert.That(Requests("lambada_openai", 1), Is.EqualTo(new[]
    {
        new ContinuationRequest(
            "Give me a minute to change and I'll meet you at the docks.\" She'd forced those words through her teeth.\n\n\"No need to change. We won't be that long.\"\n\n"
            + "Shane gripped her arm and started leading her to the dock.\n\n\"I can make it there on my own,",
            " Shane"),
    }));

    [Test]
    public void Mmlu()
    {
        string context = ((ContinuationRequest)Requests("mmlu_anatomy")[0]).Context;
        Assert.That(context, Does.StartWith(
            "The following are multiple choice questions (with answers) about anatomy.\n\nWhat is the embryological origin of the hyoid bone?\n"
            + "A. The first pharyngeal arch\nB. The first and second pharyngeal arches\nC. The second pharyngeal arch\nD. The second and third pharyngeal arches\nAnswer: D\n\n"
            + "Which of these branches of the trigeminal nerve contain somatic motor processes?\n"));
        Assert.That(context, Does.EndWith(
            "\nA. Abdominal\nB. Cranial\nC. Pleural\nD. Spinal\nAnswer: B\n\n"
            + "A lesion causing compression of the facial nerve at the stylomastoid foramen will cause ipsilateral\nA. paralysis of the facial muscles.\n"
            + "B. paralysis of the facial muscles and loss of taste.\nC. paralysis of the facial muscles, loss of taste and lacrimation.\n"
            + "D. paralysis of the facial muscles, loss of taste, lacrimation and decreased salivation.\nAnswer:"));
    }

    [Test]
    public void BigBenchHard()
    {
        string prompt = ((GenerationRequest)Requests("bbh_sports_understanding")[0]).Prompt;
        Assert.That(prompt, Does.StartWith(
            "Determine whether an artificially constructed sentence relating to sports is plausible or not.\n\n"
            + "Q: Is the following sentence plausible? \"Bam Adebayo scored a reverse layup in the Western Conference Finals.\"\nA: Let's think step by step.\n"
            + "Bam Adebayo is an American basketball player. Scoring a reverse layup in the Western Conference Finals is part of the NBA Finals. So the answer is yes.\n\nQ: "));
        Assert.That(prompt, Does.EndWith("So the answer is yes.\n\nQ: Is the following sentence plausible? \"Elias Lindholm beat the buzzer.\"\nA: Let's think step by step.\n"));
    }

    [TestCase("hellaswag", 1000)]
    [TestCase("piqa", 1838)]
    [TestCase("gsm8k", 200)]
    public void EveryRowIsRead(string task, int rows) => Assert.That(Load(task).Prompts, Has.Count.EqualTo(rows));

    private static IReadOnlyList<TaskRequest> Requests(string task, int row = 0) => TaskRows.Requests(Load(task), row);

    private static PreparedTask Load(string task) => TaskRows.Load(SharedData.Path("tasks"), task);
}
