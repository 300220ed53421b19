import { v } from "convex/values";
import { internalMutation, mutation, query } from "./_generated/server";
import { currentMembership } from "./memberships";

export const getUserByClerkId = query({
  args: { clerkId: v.string() },
  handler: async (ctx, { clerkId }) => {
    const user = await ctx.db
      .query("users")
      .withIndex("by_clerk_id", (q) => q.eq("clerkId", clerkId))
      .unique();
    if (user === null) return null;
    const membership = await currentMembership(ctx, user._id);
    return { ...user, membership: membership && { plan: membership.plan, endsAt: membership.endsAt } };
  },
});

export const updatePreferences = mutation({
  args: { newsletter: v.boolean(), units: v.union(v.literal("metric"), v.literal("imperial")) },
  handler: async (ctx, preferences) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) throw new Error("Not signed in");
    const user = await ctx.db
      .query("users")
      .withIndex("by_clerk_id", (q) => q.eq("clerkId", identity.subject))
      .unique();
    if (user === null) throw new Error("Unknown user");
    await ctx.db.patch(user._id, { preferences });
  },
});

export const upsert = internalMutation({
  args: { clerkId: v.string(), email: v.string(), name: v.string(), phone: v.optional(v.string()) },
  handler: async (ctx, profile) => {
    const user = await ctx.db
      .query("users")
      .withIndex("by_clerk_id", (q) => q.eq("clerkId", profile.clerkId))
      .unique();
    if (user === null) return await ctx.db.insert("users", { ...profile, role: "member" });
    await ctx.db.patch(user._id, { email: profile.email, name: profile.name, phone: profile.phone });
    return user._id;
  },
});
