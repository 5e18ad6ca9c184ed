using System.CommandLine;
using System.Globalization;
using Armor.Cli.Hosting;
using Armor.Cuda;

namespace Armor.Cli.Commands;

/// <summary>Where a model runs; the same for all verbs that run one.</summary>
internal static class DeviceOption
{
    internal const string Name = "--device";

    private const string Processor = "cpu";
    private const string Card = "cuda";

    internal static Option<string> Create()
    {
        var option = new Option<string>(Name) { Description = "Run on the processor (cpu, the default) or on an NVIDIA card (cuda, or cuda:N for the N-th, from 0).", HelpName = "DEVICE" };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && !TryParse(result.Tokens[0].Value, out _))
            {
                result.AddError($"{Name} must be cpu, cuda or cuda:N; found '{result.Tokens[0].Value}'.");
            }
        });
        return option;
    }

    /// <summary>The card that was asked for; null for the processor.</summary>
    /// <exception cref="UsageException">Threads are asked for as well.</exception>
    internal static int? Read(ParseResult parsed, Option<string> option, Option<int?> threads)
    {
        int? card = Read(parsed, option);
        return card is null || parsed.GetValue(threads) is null
            ? card
            : throw new UsageException($"{threads.Name} does not go with {Name} {Card}.");
    }

    /// <summary>The card that was asked for; null for the processor.</summary>
    internal static int? Read(ParseResult parsed, Option<string> option)
    {
        TryParse(parsed.GetValue(option) ?? Processor, out int? card);
        return card;
    }

    /// <summary>Opens a card.</summary>
    /// <exception cref="ToolException">It cannot be used; says why.</exception>
    internal static CudaBackend Open(int card)
    {
        var backend = new CudaBackend(new CudaBackendOptions { Device = card });
        if (backend.Unavailable is not { } reason)
        {
            return backend;
        }

        backend.Dispose();
        throw new ToolException($"{Name} {Card}:{card}: {reason}");
    }

    private static bool TryParse(string text, out int? card)
    {
        card = text == Card ? 0 : null;
        if (text is Processor or Card)
        {
            return true;
        }

        bool isCard = text.StartsWith(Card + ":", StringComparison.Ordinal)
            & int.TryParse(text.AsSpan(Math.Min(text.Length, Card.Length + 1)), NumberStyles.None, CultureInfo.InvariantCulture, out int number);
        card = isCard ? number : null;
        return isCard;
    }
}
