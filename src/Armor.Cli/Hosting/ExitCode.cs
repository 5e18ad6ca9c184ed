namespace Armor.Cli.Hosting;

/// <summary>What the tool's exit codes mean.</summary>
internal static class ExitCode
{
    internal const int Done = 0;
    internal const int Failed = 1;
    internal const int Usage = 2;
    internal const int Cancelled = 130;
}
