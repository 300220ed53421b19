import { v } from "convex/values";
import { internalMutation, query } from "./_generated/server";
import { category } from "./schema";

export const list = query({
  args: { category },
  handler: async (ctx, args) =>
    await ctx.db
      .query("products")
      .withIndex("by_category", (q) => q.eq("category", args.category).eq("active", true))
      .take(50),
});

export const getBySku = query({
  args: { sku: v.string() },
  handler: async (ctx, { sku }) =>
    await ctx.db
      .query("products")
      .withIndex("by_sku", (q) => q.eq("sku", sku))
      .unique(),
});

export const setStock = internalMutation({
  args: { productId: v.id("products"), stock: v.number() },
  handler: async (ctx, { productId, stock }) => {
    await ctx.db.patch(productId, { stock, active: stock > 0 });
  },
});
