macro m() {
 m() 
}
sp: m()
