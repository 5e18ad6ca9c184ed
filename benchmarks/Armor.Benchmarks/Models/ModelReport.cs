namespace Armor.Benchmarks.Models;

/// <summary>What was measured, as Markdown.</summary>
/// <param name="first">The rounds with TorchSharp float32.</param>
/// <param name="second">The rounds with all others.</param>
/// <param name="memory">The process that loaded the model with bfloat16 cores.</param>
/// <param name="memoryInt8">The process that loaded the model with int8 cores.</param>
/// <param name="promptTokens">Length of the prompt.</param>
internal sealed class ModelReport(ModelRounds first, ModelRounds second, ModelMemory memory, ModelMemory memoryInt8, int promptTokens)
{
    private const double MostMemory = 1.2;

    /// <summary>A row for each model and each group of rounds that it took part in.</summary>
    public void Rows(params string[] names)
    {
        Console.WriteLine(
            $"| model | rounds with | GB a token | tokens/s, best | median | of the bandwidth beside it | head's share of a token | first token of {promptTokens}, s, best | median |");
        Console.WriteLine("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        foreach (string name in names)
        {
            Row(name, first, "TorchSharp float32");
            Row(name, second, "the others");
        }
    }

    /// <summary>What processes of their own took.</summary>
    public void Memory()
    {
        Console.WriteLine("| a process of its own | files, GB | loaded in, s | resident before, MB | peak until loaded, GB | peak in all | over the files | allocated a token, bytes, greedy | top-p 0.95 |");
        Console.WriteLine("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        Row("bfloat16 core", memory);
        Row("int8 core", memoryInt8);

        static void Row(string name, ModelMemory own) =>
            Console.WriteLine(
                $"| {name} | {own.FileBytes / 1e9:f3} | {own.Seconds:f1} | {own.StartBytes / 1e6:f0} | {own.LoadedPeak / 1e9:f3} | {own.Peak / 1e9:f3} | " +
                $"{own.Peak / (double)own.FileBytes:f3} | {own.AllocatedPerToken:f1} | {own.AllocatedPerDraw:f1} |");
    }

    /// <summary>A row for each aim.</summary>
    public void Aims(string armor, string int8, string dense, string torchSingle, string torchBFloat)
    {
        Console.WriteLine("| aim | wanted | median of the rounds | | by the shortest times |");
        Console.WriteLine("| --- | ---: | ---: | --- | ---: |");
        Faster(second, armor, dense, 1.6);
        Faster(second, int8, dense, 1.6);
        Faster(first, armor, torchSingle, 4);
        Faster(second, armor, torchBFloat, 4);
        Faster(second, int8, torchBFloat, 4);
        double ratio = first.PromptRatio(torchSingle, armor);
        Aim(
            $"{armor}: first token of {promptTokens} against {torchSingle}", "1 ×", $"{ratio:f2} ×", ratio >= 1,
            $"{first.Prompt(torchSingle).Least / first.Prompt(armor).Least:f2} ×");
        foreach ((string name, ModelMemory own) in new[] { (armor, memory), (int8, memoryInt8) })
        {
            double over = own.Peak / (double)own.FileBytes;
            Aim($"{name}: peak memory over the files", $"{MostMemory:f1} ×", $"{over:f3} ×", over <= MostMemory, string.Empty);
            Aim($"{name}: bytes allocated a token", "0", $"{own.AllocatedPerToken:f1}", own.AllocatedPerToken == 0 && own.AllocatedPerDraw == 0, string.Empty);
        }

        static void Faster(ModelRounds rounds, string one, string other, double wanted)
        {
            double ratio = rounds.TokenRatio(other, one);
            Aim($"{one}: tokens/s against {other}", $"{wanted:f1} ×", $"{ratio:f2} ×", ratio >= wanted, $"{rounds.Token(other).Least / rounds.Token(one).Least:f2} ×");
        }
    }

    private static void Row(string name, ModelRounds rounds, string with)
    {
        if (!rounds.Names.Contains(name))
        {
            return;
        }

        (double least, double median) = rounds.Token(name);
        (double leastPrompt, double medianPrompt) = rounds.Prompt(name);
        double share = rounds.HeadShare(name);
        Console.WriteLine(
            $"| {name} | {with} | {rounds.Bytes(name) / 1e9:f2} | {1 / least:f2} | {1 / median:f2} | {rounds.FractionOfBandwidth(name):p0} | " +
            $"{(double.IsNaN(share) ? string.Empty : $"{share:p0}")} | {leastPrompt:f2} | {medianPrompt:f2} |");
    }

    private static void Aim(string aim, string wanted, string measured, bool isReached, string shortest) =>
        Console.WriteLine($"| {aim} | {wanted} | {measured} | {(isReached ? "reached" : "missed")} | {shortest} |");
}
