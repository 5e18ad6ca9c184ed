using Armor.TinyModel;
using Armor.TinyModel.Corpus;
using Armor.TinyModel.Export;
using Armor.TinyModel.Tokenizers;
using Armor.TinyModel.Training;

const string Usage = """
    Makes the embedded model of assets/armor-tiny. Steps, in order:
      tokenizer --books FOLDER --work FOLDER [--vocabulary 2048] [--context 256]
      train     --books FOLDER --work FOLDER [--steps N] [--batch N] [--rate X] [--threads N] ...   (goes on where it stopped)
      export    --books FOLDER --work FOLDER --output FOLDER [--calibration 320] [--evaluation 256] and the options of train
    """;

if (args.Length == 0)
{
    Console.Error.WriteLine(Usage);
    return 2;
}

var arguments = new Arguments(args.AsSpan(1));
using var cancellation = new CancellationTokenSource();
Console.CancelKeyPress += (_, pressed) =>
{
    pressed.Cancel = true;
    cancellation.Cancel();
};

switch (args[0])
{
    case "tokenizer":
        MakeTokenizer(arguments);
        return 0;
    case "train":
        var options = ReadTrainingOptions(arguments);
        arguments.RefuseUnused();
        new Trainer(options).Run(cancellation.Token);
        return 0;
    case "export":
        var trained = ReadTrainingOptions(arguments);
        var (output, calibration, evaluation) = (arguments.Text("output"), arguments.Number("calibration", 320), arguments.Number("evaluation", 256));
        arguments.RefuseUnused();
        EmbeddedModel.Export(trained, output, calibration, evaluation);
        return 0;
    default:
        Console.Error.WriteLine(Usage);
        return 2;
}

static void MakeTokenizer(Arguments arguments)
{
    var (books, work) = (arguments.Text("books"), arguments.Text("work"));
    var (size, context) = (arguments.Number("vocabulary", 2048), arguments.Number("context", 256));
    arguments.RefuseUnused();
    var texts = Books.Read(books);
    var vocabulary = BytePairTrainer.Train(texts, size);
    TokenizerFiles.Write(vocabulary, work, context);
    var sample = texts[0].Text;
    Console.WriteLine(
        $"{texts.Count} books, {vocabulary.Size} tokens, {(double)sample.Length / new BytePairEncoder(vocabulary).Encode(sample).Count:F2} characters a token");
}

static TrainingOptions ReadTrainingOptions(Arguments arguments)
{
    var standard = new TrainingOptions { Books = arguments.Text("books"), Work = arguments.Text("work") };
    return standard with
    {
        Hidden = arguments.Number("hidden", standard.Hidden),
        Intermediate = arguments.Number("intermediate", standard.Intermediate),
        Layers = arguments.Number("layers", standard.Layers),
        Heads = arguments.Number("heads", standard.Heads),
        KeyValueHeads = arguments.Number("kv-heads", standard.KeyValueHeads),
        Context = arguments.Number("context", standard.Context),
        Batch = arguments.Number("batch", standard.Batch),
        Steps = arguments.Number("steps", standard.Steps),
        WarmUpSteps = arguments.Number("warm-up", standard.WarmUpSteps),
        DecayFraction = arguments.Number("decay", standard.DecayFraction),
        LearningRate = arguments.Number("rate", standard.LearningRate),
        Beta2 = arguments.Number("beta2", standard.Beta2),
        WeightDecay = arguments.Number("weight-decay", standard.WeightDecay),
        Seed = arguments.Number("seed", standard.Seed),
        Threads = arguments.Number("threads", standard.Threads),
        CheckpointMinutes = arguments.Number("checkpoint-minutes", standard.CheckpointMinutes),
        EvaluationSteps = arguments.Number("evaluation-steps", standard.EvaluationSteps),
        HalfPrecision = arguments.Number("half-precision", standard.HalfPrecision),
    };
}
