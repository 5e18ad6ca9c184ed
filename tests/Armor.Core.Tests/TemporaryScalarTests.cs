using System.Reflection;
using System.Reflection.Emit;
using Armor.Core.Pruning;
using TorchSharp;

namespace Armor.Core.Tests;

/// <summary>
/// TorchSharp frees its temporary scalars from a finalizer, perhaps while a native call reads them (see TensorArithmetic). Which of its methods make
/// some is read from its own code, so a new version, or a method that BannedSymbols.txt forgets, is found here.
/// </summary>
[TestFixture]
public sealed class TemporaryScalarTests
{
    private const BindingFlags Everything =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly;

    [Test]
    public void Only_TensorArithmetic_calls_what_makes_a_scalar()
    {
        HashSet<MethodBase> makers = ScalarMakers(typeof(torch).Assembly);
        Assert.That(makers.Select(method => method.Name), Does.Contain("square").And.Contain("op_Addition").And.Not.Contain("matmul"));
        string[] calls =
        [
            .. from method in Methods(typeof(ArmorPruner).Assembly)
               where method.DeclaringType!.Name != "TensorArithmetic"
               from called in Calls(method)
               where makers.Contains(called)
               select $"{method.DeclaringType!.FullName}.{method.Name} calls {called.DeclaringType!.Name}.{called.Name}",
        ];
        Assert.That(calls, Is.Empty);
    }

    // All methods that convert a number to a scalar, and those that call one of them.
    private static HashSet<MethodBase> ScalarMakers(Assembly library)
    {
        Dictionary<MethodBase, MethodBase[]> calls = Methods(library).ToDictionary(method => method, method => Calls(method).ToArray());
        HashSet<MethodBase> makers = [.. calls.Keys.Where(method => method is MethodInfo { ReturnType.Name: nameof(Scalar) } && method.IsStatic)];
        int before;
        do
        {
            before = makers.Count;
            makers.UnionWith(calls.Where(pair => pair.Value.Any(makers.Contains)).Select(pair => pair.Key).ToArray());
        }
        while (makers.Count > before);

        return makers;
    }

    private static IEnumerable<MethodBase> Methods(Assembly assembly) => assembly.GetTypes()
        .SelectMany(type => type.GetMethods(Everything).Cast<MethodBase>().Concat(type.GetConstructors(Everything)));

    // Every byte that could begin a call is tried: a token that is no method's resolves to nothing.
    private static IEnumerable<MethodBase> Calls(MethodBase method)
    {
        byte[] code = method.GetMethodBody()?.GetILAsByteArray() ?? [];
        for (int i = 0; i + 5 <= code.Length; i++)
        {
            if ((code[i] == OpCodes.Call.Value || code[i] == OpCodes.Callvirt.Value) && Resolve(method, BitConverter.ToInt32(code, i + 1)) is { } called)
            {
                yield return called;
            }
        }
    }

    private static MethodBase? Resolve(MethodBase method, int token)
    {
        try
        {
            MethodBase? called = method.Module.ResolveMethod(
                token, method.DeclaringType?.GetGenericArguments(), method.IsGenericMethod ? method.GetGenericArguments() : null);
            return called is MethodInfo { IsGenericMethod: true } generic ? generic.GetGenericMethodDefinition() : called;
        }
        catch (Exception exception) when (exception is ArgumentException or BadImageFormatException or MissingMemberException or FileNotFoundException or TypeLoadException)
        {
            return null;
        }
    }
}
