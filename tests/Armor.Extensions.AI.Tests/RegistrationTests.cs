using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Armor.Extensions.AI.Tests;

public sealed class RegistrationTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task TheContainerLoadsAndDisposes()
    {
        string path = RecitingModel.Write(folder.File("one"), "Yes.");
        ArmorModel model;
        await using (ServiceProvider provider = new ServiceCollection().AddArmorChatClient(path).BuildServiceProvider())
        {
            IChatClient client = provider.GetRequiredService<IChatClient>();
            Assert.That(provider.GetRequiredService<IChatClient>(), Is.SameAs(client));
            Assert.That((await client.GetResponseAsync("Well?", new ChatOptions { Temperature = 0 })).Text, Is.EqualTo("Yes."));
            Assert.That(client.GetService<ChatClientMetadata>()!.DefaultModelId, Is.EqualTo("one"));
            model = client.GetRequiredService<ArmorModel>();
        }

        Assert.That(() => model.CreateSession(), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public async Task SeveralModelsHaveKeys()
    {
        var services = new ServiceCollection();
        services.AddKeyedArmorChatClient("yes", RecitingModel.Write(folder.File("yes"), "Yes."));
        services.AddKeyedArmorChatClient("no", RecitingModel.Write(folder.File("no"), "No!"));
        await using ServiceProvider provider = services.BuildServiceProvider();
        foreach ((string key, string answer) in new[] { ("yes", "Yes."), ("no", "No!") })
        {
            ChatResponse response = await provider.GetRequiredKeyedService<IChatClient>(key).GetResponseAsync("?", new ChatOptions { Temperature = 0 });
            Assert.That(response.Text, Is.EqualTo(answer));
        }
    }

    [Test]
    public void WhatIsWrongWithAFolderIsSaid()
    {
        Assert.That(() => new ServiceCollection().AddArmorChatClient(string.Empty), Throws.ArgumentException);
        string bare = RecitingModel.Write(folder.File("bare"), "x");
        File.WriteAllText(Path.Combine(bare, "chat_template.jinja"), "{{ 'unheard of' }}");
        Assert.That(() => ArmorChatClient.Load(bare), Throws.TypeOf<CheckpointException>().With.Message.Contains("chat template"));
        Assert.That(() => ArmorChatClient.Load(folder.File("nowhere")), Throws.TypeOf<CheckpointException>());
    }

    [Test]
    public void ThePackageKnowsOnlyTheRuntimeAndAbstractions() => Assert.That(
        typeof(ArmorChatClient).Assembly.GetReferencedAssemblies().Select(reference => reference.Name).Where(name => !name!.StartsWith("System", StringComparison.Ordinal)),
        Is.EquivalentTo(new[] { "Armor.Runtime", "Microsoft.Extensions.AI.Abstractions", "Microsoft.Extensions.DependencyInjection.Abstractions" }));
}
