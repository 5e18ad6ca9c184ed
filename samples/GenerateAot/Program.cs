// Text from a model in one native file, without the .NET runtime.
// Usage: dotnet publish -c Release, then GenerateAot [MODEL [PROMPT [TOKENS]]].
using System.Globalization;
using Armor.Runtime.Generation;

string folder = args.Length > 0 ? args[0] : "../../assets/armor-tiny";
string prompt = args.Length > 1 ? args[1] : "Once upon a time";
int tokens = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 64;

using ArmorModel model = ArmorModel.Load(folder);
Console.Write(prompt);
foreach (string piece in model.Generate(prompt, GenerationOptions.Sampled with { MaxTokens = tokens }))
{
    Console.Write(piece);
}

Console.WriteLine();
