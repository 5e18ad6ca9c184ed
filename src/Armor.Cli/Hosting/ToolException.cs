namespace Armor.Cli.Hosting;

/// <summary>A problem that the tool itself finds; its message is all that a user needs.</summary>
internal sealed class ToolException(string message) : Exception(message);

/// <summary>A combination of arguments that makes no sense: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);
