using Armor.Core.Evaluation.Tasks.Data;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>Tasks measured together, with one result for all.</summary>
/// <param name="Name">The harness's name of the group.</param>
/// <param name="Version">Of its definition.</param>
/// <param name="Tasks">Its tasks.</param>
internal sealed record TaskGroup(string Name, string Version, IReadOnlyList<TaskDefinition> Tasks);

/// <summary>All tasks by name.</summary>
internal static class TaskCatalogue
{
    /// <summary>Where MMLU lies: a folder a subject.</summary>
    public static readonly TaskDataSet MmluData = new("mmlu", "mmlu");

    /// <summary>Where BIG-Bench Hard lies: a file a task.</summary>
    public static readonly TaskDataSet BigBenchData = new("bbh", "bbh", "bbh/bbh", "BIG-Bench-Hard/bbh");

    private static readonly Dictionary<string, Func<TaskDefinition>> Single = new(StringComparer.Ordinal)
    {
        ["arc_challenge"] = () => ChoiceTasks.Arc("arc_challenge", "ARC-Challenge"),
        ["arc_easy"] = () => ChoiceTasks.Arc("arc_easy", "ARC-Easy"),
        ["boolq"] = ChoiceTasks.BoolQ,
        ["c4"] = TextTasks.C4,
        ["gpqa_diamond_cot_zeroshot"] = () => GpqaTasks.ChainOfThought("diamond"),
        ["gpqa_diamond_n_shot"] = () => GpqaTasks.FewShot("diamond"),
        ["gpqa_diamond_zeroshot"] = () => GpqaTasks.ZeroShot("diamond"),
        ["gpqa_extended_cot_zeroshot"] = () => GpqaTasks.ChainOfThought("extended"),
        ["gpqa_extended_n_shot"] = () => GpqaTasks.FewShot("extended"),
        ["gpqa_extended_zeroshot"] = () => GpqaTasks.ZeroShot("extended"),
        ["gpqa_main_cot_zeroshot"] = () => GpqaTasks.ChainOfThought("main"),
        ["gpqa_main_n_shot"] = () => GpqaTasks.FewShot("main"),
        ["gpqa_main_zeroshot"] = () => GpqaTasks.ZeroShot("main"),
        ["gsm8k"] = AnswerTasks.Gsm8k,
        ["hellaswag"] = ChoiceTasks.HellaSwag,
        ["lambada_openai"] = TextTasks.Lambada,
        ["openbookqa"] = ChoiceTasks.OpenBookQA,
        ["piqa"] = ChoiceTasks.Piqa,
        ["rte"] = ChoiceTasks.Rte,
        ["sciq"] = ChoiceTasks.SciQ,
        ["wikitext"] = TextTasks.WikiText,
        ["winogrande"] = ChoiceTasks.WinoGrande,
    };

    // The harness's four fields of MMLU, in its order.
    private static readonly (string Field, string Subjects)[] Fields =
    [
        ("stem", "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science college_mathematics college_physics computer_security "
            + "conceptual_physics electrical_engineering elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science "
            + "high_school_mathematics high_school_physics high_school_statistics machine_learning"),
        ("other", "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing medical_genetics miscellaneous nutrition "
            + "professional_accounting professional_medicine virology"),
        ("social_sciences", "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics high_school_microeconomics "
            + "high_school_psychology human_sexuality professional_psychology public_relations security_studies sociology us_foreign_policy"),
        ("humanities", "formal_logic high_school_european_history high_school_us_history high_school_world_history international_law jurisprudence "
            + "logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law world_religions"),
    ];

    private static readonly string[] BigBenchTasks =
    [
        "boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa", "dyck_languages", "formal_fallacies", "geometric_shapes", "hyperbaton",
        "logical_deduction_five_objects", "logical_deduction_seven_objects", "logical_deduction_three_objects", "movie_recommendation", "multistep_arithmetic_two",
        "navigate", "object_counting", "penguins_in_a_table", "reasoning_about_colored_objects", "ruin_names", "salient_translation_error_detection", "snarks",
        "sports_understanding", "temporal_sequences", "tracking_shuffled_objects_five_objects", "tracking_shuffled_objects_seven_objects",
        "tracking_shuffled_objects_three_objects", "web_of_lies", "word_sorting",
    ];

    /// <summary>What may be asked for, short names and groups included.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. Single.Keys.Concat(["mmlu", "bbh"]).Concat(Fields.Select(field => $"mmlu_{field.Field}")).Order(StringComparer.Ordinal)];

    /// <summary>The tasks of a name, alone or in groups.</summary>
    /// <param name="name">A task, a group, <c>mmlu_SUBJECT</c>, <c>bbh_TASK</c>, <c>gpqa</c> (its diamond set) or <c>lambada</c>.</param>
    /// <param name="files">Tells which of a group's tasks are there.</param>
    /// <exception cref="TaskDataException">A group has no data at all.</exception>
    /// <exception cref="ArgumentException">There is no such task.</exception>
    public static IReadOnlyList<TaskGroup> Find(string name, TaskFiles files)
    {
        switch (name)
        {
            case "mmlu":
                TaskGroup[] fields = [.. Fields.Select(field => MmluField(field.Field, field.Subjects, files)).Where(field => field.Tasks.Count > 0)];
                RequireSome(fields.SelectMany(field => field.Tasks), MmluData, files);
                return [new TaskGroup("mmlu", "2", [.. fields.SelectMany(field => field.Tasks)]), .. fields];
            case "bbh":
            case "bbh_cot_fewshot":
                string place = files.Locate(BigBenchData);
                TaskDefinition[] there =
                    [.. BigBenchTasks.Where(task => TaskFiles.FindSplit(place, [task]) is not null).Select(AnswerTasks.BigBenchHard)];
                RequireSome(there, BigBenchData, files);
                return [new TaskGroup("bbh_cot_fewshot", "3.0", there)];
            case "gpqa":
                return Alone(GpqaTasks.ZeroShot("diamond"));
            case "lambada":
                return Alone(TextTasks.Lambada());
        }

        if (Single.TryGetValue(name, out Func<TaskDefinition>? single))
        {
            return Alone(single());
        }

        if (Fields.FirstOrDefault(field => name == $"mmlu_{field.Field}") is { Field: not null } asked)
        {
            TaskGroup group = MmluField(asked.Field, asked.Subjects, files);
            RequireSome(group.Tasks, MmluData, files);
            return [group];
        }

        if (Fields.SelectMany(field => field.Subjects.Split(' ')).FirstOrDefault(each => name == $"mmlu_{each}") is { } subject)
        {
            return Alone(ChoiceTasks.Mmlu(subject));
        }

        return BigBenchTasks.FirstOrDefault(task => name == $"bbh_{task}" || name == $"bbh_cot_fewshot_{task}") is { } found
            ? Alone(AnswerTasks.BigBenchHard(found))
            : throw new ArgumentException($"There is no task \"{name}\". There are {string.Join(", ", Names)}, mmlu_SUBJECT and bbh_TASK.", nameof(name));
    }

    private static TaskGroup[] Alone(TaskDefinition task) => [new TaskGroup(string.Empty, string.Empty, [task])];

    private static TaskGroup MmluField(string field, string subjects, TaskFiles files)
    {
        IReadOnlyList<string> there = files.Subsets(MmluData);
        return new TaskGroup($"mmlu_{field}", "2", [.. subjects.Split(' ').Where(there.Contains).Select(ChoiceTasks.Mmlu)]);
    }

    private static void RequireSome(IEnumerable<TaskDefinition> tasks, TaskDataSet set, TaskFiles files)
    {
        if (!tasks.Any())
        {
            throw new TaskDataException($"{files.Locate(set)}: expected data of at least one task of {set.Name}, found none.");
        }
    }
}
