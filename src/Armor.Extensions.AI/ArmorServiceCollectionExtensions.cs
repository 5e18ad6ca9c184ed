using Armor.Runtime.Generation;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Armor.Extensions.AI;

/// <summary>Registers chat clients.</summary>
public static class ArmorServiceCollectionExtensions
{
    /// <summary>
    /// Registers a model as the application's <see cref="IChatClient"/>: a singleton that is loaded when first asked for and disposed of with the
    /// container. To put a pipeline around it, pass <see cref="ArmorChatClient.Load"/> to <c>AddChatClient</c> of Microsoft.Extensions.AI instead.
    /// </summary>
    /// <param name="services">The application's services.</param>
    /// <param name="folder">A dense Hugging Face folder or an ARMOR checkpoint.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <param name="modelOptions">How the model is loaded; null for the defaults.</param>
    /// <returns>The same services.</returns>
    public static IServiceCollection AddArmorChatClient(
        this IServiceCollection services, string folder, ArmorChatClientOptions? options = null, ArmorModelOptions? modelOptions = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options?.Validate();
        return services.AddSingleton<IChatClient>(_ => ArmorChatClient.Load(folder, options, modelOptions));
    }

    /// <summary>Registers one of several models, as <see cref="AddArmorChatClient"/> does the only one.</summary>
    /// <param name="services">The application's services.</param>
    /// <param name="serviceKey">What the client is asked for by.</param>
    /// <param name="folder">A dense Hugging Face folder or an ARMOR checkpoint.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <param name="modelOptions">How the model is loaded; null for the defaults.</param>
    /// <returns>The same services.</returns>
    public static IServiceCollection AddKeyedArmorChatClient(
        this IServiceCollection services,
        object? serviceKey,
        string folder,
        ArmorChatClientOptions? options = null,
        ArmorModelOptions? modelOptions = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options?.Validate();
        return services.AddKeyedSingleton<IChatClient>(serviceKey, (_, _) => ArmorChatClient.Load(folder, options, modelOptions));
    }
}
