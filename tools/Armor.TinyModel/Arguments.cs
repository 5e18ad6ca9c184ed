using System.Globalization;

namespace Armor.TinyModel;

/// <summary>Arguments of the form <c>--name value</c>; every one must be used.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);

    public Arguments(ReadOnlySpan<string> arguments)
    {
        for (var i = 0; i < arguments.Length; i += 2)
        {
            if (!arguments[i].StartsWith("--", StringComparison.Ordinal) || i + 1 == arguments.Length)
            {
                throw new ArgumentException($"expected --name value, found \"{arguments[i]}\"");
            }

            _values[arguments[i][2..]] = arguments[i + 1];
        }
    }

    public string Text(string name, string? fallback = null)
    {
        _used.Add(name);
        return _values.GetValueOrDefault(name) ?? fallback ?? throw new ArgumentException($"--{name} is missing");
    }

    public T Number<T>(string name, T fallback)
        where T : struct, IParsable<T>
    {
        _used.Add(name);
        return _values.TryGetValue(name, out var value) ? T.Parse(value, CultureInfo.InvariantCulture) : fallback;
    }

    public void RefuseUnused()
    {
        var unused = _values.Keys.Except(_used).ToList();
        if (unused.Count > 0)
        {
            throw new ArgumentException($"unknown: {string.Join(", ", unused.Select(name => "--" + name))}");
        }
    }
}
