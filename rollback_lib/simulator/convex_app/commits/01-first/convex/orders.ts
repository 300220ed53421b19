import { ConvexError, v } from "convex/values";
import { internalMutation, mutation, query } from "./_generated/server";

export const listForUser = query({
  args: { userId: v.id("users") },
  handler: async (ctx, { userId }) =>
    await ctx.db
      .query("orders")
      .withIndex("by_user", (q) => q.eq("userId", userId))
      .order("desc")
      .take(20),
});

export const place = mutation({
  args: {
    userId: v.id("users"),
    items: v.array(v.object({ productId: v.id("products"), quantity: v.number() })),
  },
  handler: async (ctx, { userId, items }) => {
    const priced = [];
    for (const { productId, quantity } of items) {
      const product = await ctx.db.get(productId);
      if (product === null || !product.active) throw new ConvexError({ code: "GONE", productId });
      if (product.stock < quantity) throw new ConvexError({ code: "OUT_OF_STOCK", productId });
      await ctx.db.patch(productId, { stock: product.stock - quantity });
      priced.push({ productId, quantity, unitPriceCents: product.priceCents });
    }
    const totalCents = priced.reduce((sum, item) => sum + item.quantity * item.unitPriceCents, 0);
    return await ctx.db.insert("orders", {
      userId,
      items: priced,
      totalCents,
      status: "placed",
      shipTo: null,
    });
  },
});

export const markPaid = internalMutation({
  args: { orderId: v.id("orders") },
  handler: async (ctx, { orderId }) => {
    await ctx.db.patch(orderId, { status: "paid", paidAt: Date.now() });
  },
});

export const countOpen = query({
  args: {},
  handler: async (ctx) => {
    const open = await ctx.db
      .query("orders")
      .withIndex("by_status", (q) => q.eq("status", "placed"))
      .take(1000);
    return open.length;
  },
});
