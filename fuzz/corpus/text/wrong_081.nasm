sp: goto nowhere
