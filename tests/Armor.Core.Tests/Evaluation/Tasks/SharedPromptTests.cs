using System.Security.Cryptography;
using System.Text;
using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Tests.Evaluation.Tasks;

/// <summary>
/// Prompts of real rows: some written by hand from the harness's task definitions, and the sums of all of them, as the harness's own code makes them
/// (<c>harness_prompts.py</c> beside this file).
/// </summary>
[Category("SharedData")]
public sealed class SharedPromptTests
{
    private const string Tango =
        "Tango: A group of people sits around a large dance floor. A man and a woman walk onto the dance floor and dance. A band on stage plays. They";

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

    [Test]
    public void HellaSwag() => Assert.That(Requests("hellaswag", 1), Is.EqualTo(new[]
    {
        new ContinuationRequest(Tango, " approach the ladies while they dance seductively."),
        new ContinuationRequest(Tango, " are playing a song called justin bieber."),
        new ContinuationRequest(Tango, " continue dancing as the lady and man walk to the center."),
        new ContinuationRequest(Tango, " finish the dance and the crowd claps."),
    }));

    [Test]
    public void PiqaKeepsTheSpacesOfItsAnswers() => Assert.That(Requests("piqa", 1), Is.EqualTo(new[]
    {
        new ContinuationRequest("Question: dresser\nAnswer:", " replace drawer with bobby pin "),
        new ContinuationRequest("Question: dresser\nAnswer:", " finish, woodgrain with  bobby pin "),
    }));

    [Test]
    public void Gsm8k()
    {
        // random.Random(1234).sample(range(20), 5) is [14, 3, 0, 2, 1].
        string expected =
            """
            Question: Joy can read 8 pages of a book in 20 minutes. How many hours will it take her to read 120 pages?
            Answer: In one hour, there are 3 sets of 20 minutes.
            So, Joy can read 8 x 3 = <<8*3=24>>24 pages in an hour.
            It will take her 120/24 = <<120/24=5>>5 hours to read 120 pages.
            #### 5

            Question: Julie is reading a 120-page book. Yesterday, she was able to read 12 pages and today, she read twice as many pages as yesterday. If she wants to read half of the remaining pages tomorrow, how many pages should she read?
            Answer: Maila read 12 x 2 = <<12*2=24>>24 pages today.
            So she was able to read a total of 12 + 24 = <<12+24=36>>36 pages since yesterday.
            There are 120 - 36 = <<120-36=84>>84 pages left to be read.
            Since she wants to read half of the remaining pages tomorrow, then she should read 84/2 = <<84/2=42>>42 pages.
            #### 42

            Question: Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did Natalia sell altogether in April and May?
            Answer: Natalia sold 48/2 = <<48/2=24>>24 clips in May.
            Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.
            #### 72

            Question: Betty is saving money for a new wallet which costs $100. Betty has only half of the money she needs. Her parents decided to give her $15 for that purpose, and her grandparents twice as much as her parents. How much more money does Betty need to buy the wallet?
            Answer: In the beginning, Betty has only 100 / 2 = $<<100/2=50>>50.
            Betty's grandparents gave her 15 * 2 = $<<15*2=30>>30.
            This means, Betty needs 100 - 50 - 30 - 15 = $<<100-50-30-15=5>>5 more.
            #### 5

            Question: Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did she earn?
            Answer: Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.
            Working 50 minutes, she earned 0.2 x 50 = $<<0.2*50=10>>10.
            #### 10

            Question: Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg. How much in dollars does she make every day at the farmers' market?
            Answer:
            """.ReplaceLineEndings("\n");
        Assert.That(((GenerationRequest)Requests("gsm8k")[0]).Prompt, Is.EqualTo(expected));
    }

    [TestCase("arc_challenge", 1194, "a5215c23fb813eaa1505ca9b725823f789e3390ba93cdec4ada49ea5e579259e")]
    [TestCase("hellaswag", 4000, "839925660ed43b5c83fcbcd109ce3a748644d09cf7bac83cb3f43a55aaf3c6e1")]
    [TestCase("piqa", 3676, "88f89a90139d07e4d006bdf479120d662a70f14b2b7dabf05570b7d262fcff02")]
    [TestCase("winogrande", 2534, "736feae2d899ae96ec17520dba28d2f080d042fbafccdd9cb6a2b4967af94e04")]
    [TestCase("lambada_openai", 500, "f88567b624e829ff36a7b64f9d16e38a79dc3ffe958e6961616f91def6528270")]
    [TestCase("gsm8k", 200, "941898f67ae7f893938f6c5609b88a4da455298285ab1ccaf1d79544b8c00f41")]
    [TestCase("mmlu_anatomy", 540, "80f8955f0e2f80cd347d2539b4bb39dada349f20e83d51b6a92a459a0f338985")]
    [TestCase("mmlu_astronomy", 608, "e1d8fecedcf7e71d99d57b8640991e1a5f9614ff10f359afbac1b21451f6bc60")]
    [TestCase("mmlu_business_ethics", 400, "bcd664bec1b6546a22bba38c020ff145e04389db38c20f0ee8c93a2e2cf4ee8a")]
    [TestCase("mmlu_college_computer_science", 400, "a2ba390a951761724591eb143befda5af0d592248078fa221f01fa784b8020fc")]
    [TestCase("mmlu_global_facts", 400, "4a38ec34a110f85c2fb1fa101eaebe01bfc7134441774526f23710a527954e28")]
    [TestCase("mmlu_machine_learning", 448, "b7f67d4f72320443594bed2f838cc80ff3b606a437af994c865a76d1b16dcada")]
    [TestCase("mmlu_us_foreign_policy", 400, "5bb341250bbd341738e008bc07344209caee4eb1bb63d3f0f4117021af7df5e5")]
    [TestCase("mmlu_virology", 664, "137826dca1ecfd9bb170f37ca478598b16b9a41e022df052163158750574d459")]
    [TestCase("bbh_cot_fewshot_boolean_expressions", 250, "193ea9e1a943276fc6f1b577c39cdf5bd9f566b4e7a7041992ce63d9a643df1c")]
    [TestCase("bbh_cot_fewshot_date_understanding", 250, "c2abea1e61c0d0e71b2618fdef8cc5acee620a5e68795ec13101cf6f46e695f3")]
    [TestCase("bbh_cot_fewshot_navigate", 250, "45cc1e9c42fe3941d697ba97166e538dd9b56304fecb0186b007c4a829b8a580")]
    [TestCase("bbh_cot_fewshot_object_counting", 250, "e6ede8ef3d510de1d64d3569879378a4e819772cc130ce77b6cdbfdea3ddf535")]
    [TestCase("bbh_cot_fewshot_sports_understanding", 250, "55a17f3f2423ff151417052f67da8b0c0fc376c6baef6eb0ff729657cf192a7e")]
    public void EveryPromptIsTheHarnesss(string name, int count, string sum)
    {
        PreparedTask task = Load(name);
        TaskRequest[] requests = [.. Enumerable.Range(0, task.Prompts.Count).SelectMany(row => TaskRows.Requests(task, row))];
        Assert.That(requests, Has.Length.EqualTo(count));
        using var total = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string text in requests.SelectMany(Texts))
        {
            total.AppendData(Encoding.UTF8.GetBytes(text + "\0"));
        }

        Assert.That(Convert.ToHexStringLower(total.GetHashAndReset()), Is.EqualTo(sum));
    }

    private static IEnumerable<string> Texts(TaskRequest request) => request switch
    {
        ContinuationRequest continuation => [continuation.Context, continuation.Continuation],
        GenerationRequest generation => [generation.Prompt, .. generation.StopStrings],
        _ => throw new ArgumentOutOfRangeException(nameof(request)),
    };

    private static IReadOnlyList<TaskRequest> Requests(string task, int row = 0) => TaskRows.Requests(Load(task), row);

    private static PreparedTask Load(string task) => TaskRows.Load(SharedData.Path("tasks"), task);
}
